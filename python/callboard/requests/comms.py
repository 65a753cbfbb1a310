"""Comms: messages between widgets in the browser and objects in the kernel."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import comm
import comm.base_comm

from .. import patches
from ..util.json import decode, encode

if TYPE_CHECKING:
    from .._core import Kernel, Request

logger = logging.getLogger("callboard.comm")


class Comm(comm.base_comm.BaseComm):
    """The kernel's end of a comm. ``comm.create_comm`` makes it."""

    #: Set once, when the kernel starts.
    core: Kernel

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
        self.core.publish(
            msg_type,
            encode(content),
            metadata=encode(metadata) if metadata else None,
            buffers=[_contiguous(buffer) for buffer in buffers or ()],
        )


def _contiguous(buffer: Any) -> memoryview:
    """Returns any buffer as contiguous bytes, copied if necessary (a NumPy array may be neither)."""
    view = memoryview(buffer)
    # An empty array of several dimensions cannot be cast.
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())


def install(core: Kernel) -> comm.base_comm.CommManager:
    """Makes the ``comm`` package send and receive through this kernel."""
    manager = comm.base_comm.CommManager()
    Comm.core = core
    patches.put("comm:create_comm", Comm)
    patches.put("comm:get_comm_manager", lambda: manager)
    return manager


def close_all(manager: comm.base_comm.CommManager) -> None:
    """Closes all comms, and so tells the frontends that the kernel ends."""
    for each in list(manager.comms.values()):
        try:
            each.close(deleting=True)
        except Exception:
            logger.exception("%r could not be closed", each)


def handle(manager: comm.base_comm.CommManager, request: Request) -> None:
    """Passes a comm message of a frontend to its comm."""
    message = {
        "header": decode(request.header),
        "msg_id": request.msg_id,
        "msg_type": request.msg_type,
        "parent_header": decode(request.parent_header),
        "metadata": decode(request.metadata),
        "content": decode(request.content),
        "buffers": [memoryview(buffer) for buffer in request.buffers],
    }
    getattr(manager, request.msg_type)(None, None, message)
