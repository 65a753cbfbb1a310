"""Comms: messages between widgets in the browser and objects in the kernel."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import comm
import comm.base_comm

from .. import patches
from ..util.json import decode, encode

if TYPE_CHECKING:
    from .._core import Request
    from ..protocols import KernelServices

logger = logging.getLogger("callboard.comm")

#: The kernel that runs.
_running: KernelServices


class BaseComm(comm.base_comm.BaseComm):
    """The kernel's end of a comm, for libraries that set a kernel of their own in the class."""

    __module__ = "ipykernel.comm.comm"

    #: The kernel that sends its messages: the one that runs. Libraries with kernels of their own set others.
    kernel: Any = None

    def __init__(
        self,
        target_name: str = "",
        data: Any = None,
        metadata: Any = None,
        buffers: Any = None,
        show_warning: bool = True,
        **kwargs: Any,
    ) -> None:
        """Opens a comm, unless ``primary=False``. Takes what the base class takes, and what ipykernel's comm takes:
        ``kernel``, and options of configurable objects, which it ignores. Ignores `show_warning`: it warns of nothing.
        """
        kernel = kwargs.pop("kernel", None)
        if kernel is not None:
            self.kernel = kernel
        for name in ("config", "log", "parent"):
            kwargs.pop(name, None)
        super().__init__(target_name or "comm", data, metadata, buffers, **kwargs)

    def publish_msg(
        self,
        msg_type: str,
        data: Any = None,
        metadata: Any = None,
        buffers: Any = None,
        **keys: Any,
    ) -> None:
        """Sends a message to the frontends. Buffers are separate frames."""
        content = {"data": {} if data is None else data, "comm_id": self.comm_id, **keys}
        kernel = self.kernel
        if kernel is not None and kernel is not _running:
            parent = kernel.get_parent()
            kernel.session.send(
                kernel.iopub_socket, msg_type, content, parent, self.topic, buffers, metadata=metadata or {}
            )
            return
        _running.core.publish(
            msg_type,
            encode(content),
            metadata=encode(metadata) if metadata else None,
            buffers=[contiguous(buffer) for buffer in buffers or ()],
        )


class Comm(BaseComm):
    """The kernel's end of a comm. ``comm.create_comm`` makes it."""

    __module__ = "ipykernel.comm.comm"

    kernel: Any = None


class CommManager(comm.base_comm.CommManager):
    """The comms that are open, and what opens those that frontends ask for."""

    __module__ = "ipykernel.comm.manager"

    def __init__(self, *, kernel: Any = None, parent: Any = None, **_options: Any) -> None:
        """Makes a manager without comms. The options are those of configurable objects, and have no effect."""
        super().__init__()
        self.kernel = kernel
        self.parent = parent

    def comm_open(self, stream: Any, ident: Any, msg: dict[str, Any]) -> None:
        """Opens a comm that a frontend has asked for. Does not call ``comm.create_comm``, as the base class does:
        libraries replace it, to have the comms that cells open."""
        comm_id, target_name = msg["content"]["comm_id"], msg["content"]["target_name"]
        opened = Comm(target_name, comm_id=comm_id, primary=False, kernel=self.kernel)
        self.register_comm(opened)
        try:
            if target_name in self.targets:
                self.targets[target_name](opened, msg)
                return
            logger.error("No such comm target registered: %s", target_name)
        except Exception:
            logger.exception("Exception opening comm with target: %s", target_name)
        try:
            opened.close()
        except Exception:
            logger.exception("The comm %s could not be closed", comm_id)


def contiguous(buffer: Any) -> memoryview:
    """Returns any buffer as contiguous bytes, copied if necessary (a NumPy array may be neither)."""
    view = memoryview(buffer)
    # An empty array of several dimensions cannot be cast.
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())


def install(kernel: KernelServices) -> CommManager:
    """Makes the ``comm`` package send and receive through this kernel."""
    global _running
    manager = CommManager(kernel=kernel, parent=kernel)
    BaseComm.kernel = Comm.kernel = _running = kernel
    patches.put("comm:create_comm", Comm)
    patches.put("comm:get_comm_manager", lambda: manager)
    return manager


def close_all(manager: CommManager) -> None:
    """Closes all comms, and so tells the frontends that the kernel ends."""
    for each in list(manager.comms.values()):
        try:
            each.close(deleting=True)
        except Exception:
            logger.exception("%r could not be closed", each)


def handle(manager: CommManager, request: Request) -> None:
    """Passes a comm message of a frontend to its comm."""
    getattr(manager, request.msg_type)(None, None, message_of(request))


def message_of(request: Request) -> dict[str, Any]:
    """A request as the nested dicts that ``jupyter_client`` makes of it, with its buffers as memory views."""
    return {
        "header": decode(request.header),
        "msg_id": request.msg_id,
        "msg_type": request.msg_type,
        "parent_header": decode(request.parent_header),
        "metadata": decode(request.metadata),
        "content": decode(request.content),
        "buffers": [memoryview(buffer) for buffer in request.buffers],
    }
