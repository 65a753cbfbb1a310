"""The base class of kernels, which libraries know as ``ipykernel.kernelbase.Kernel``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from traitlets.config import SingletonConfigurable

if TYPE_CHECKING:
    from collections.abc import Callable


class Kernel(SingletonConfigurable):
    """The base class of kernels. ``Kernel.instance()`` is the one that runs.

    Libraries derive kernels from it (panel, solara, ipywidgets_bokeh), to talk to frontends of their own from within a
    cell: they have a ``session`` that sends to these, and call `dispatch_shell` with what comes from them.
    """

    __module__ = "ipykernel.kernelbase"

    implementation = implementation_version = banner = ""
    language_info: dict[str, Any] = {}
    help_links: Any = []
    session: Any = None
    shell_stream: Any = None
    iopub_socket: Any = None
    comm_manager: Any
    shell_handlers: Any
    control_handlers: Any
    msg_types = ["kernel_info_request", "comm_info_request"]
    control_msg_types = msg_types

    #: None for kernels that libraries make: they set it, and ask whether it is set.
    log: Any = None
    # Event loops of libraries ask for it, seconds.
    _poll_interval = 0.01

    def __init__(self, **kwargs: Any) -> None:
        """Makes a kernel of a library's. Sets attributes, traits or not."""
        plain = {name: kwargs.pop(name) for name in kwargs.keys() - self.traits().keys() if hasattr(self, name)}
        super().__init__(**kwargs)
        vars(self).update(plain)
        self._parents: dict[str, dict[str, Any]] = {}
        self.shell_handlers = {name: getattr(self, name) for name in self.msg_types}
        self.control_handlers = {name: getattr(self, name) for name in self.control_msg_types}

    # -- messages of the frontends of a library's kernel --------------------------------------------------

    async def dispatch_shell(self, msg: Any, /, **_options: Any) -> None:
        """Passes a message, serialized by `session`, to its handler."""
        if not self.session:
            return
        idents, frames = self.session.feed_identities(msg, copy=False)
        try:
            message = self.session.deserialize(frames, content=True, copy=False)
        except Exception:
            self.log.exception("A message cannot be read")
            return
        self.set_parent(idents, message)
        self._publish_status("busy", "shell")
        handler: Callable[..., Any] | None = self.shell_handlers.get(message["header"]["msg_type"])
        if handler is None:
            self.log.warning("Unknown message type: %r", message["header"]["msg_type"])
        else:
            try:
                result = handler(self.shell_stream, idents, message)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                self.log.exception("A handler has failed")
        self._publish_status("idle", "shell")

    async def kernel_info_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Says what kernel it is."""
        names = ("implementation", "implementation_version", "language_info", "banner", "help_links")
        info = {name: getattr(self, name) for name in names}
        self.session.send(
            stream, "kernel_info_reply", {"status": "ok", "protocol_version": "5.5", **info}, parent, ident
        )

    async def comm_info_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Says which comms are open."""
        target = parent["content"].get("target_name")
        comms = {
            comm_id: {"target_name": comm.target_name}
            for comm_id, comm in self.comm_manager.comms.items()
            if target in (None, comm.target_name)
        }
        self.session.send(stream, "comm_info_reply", {"status": "ok", "comms": comms}, parent, ident)

    # -- what it sends ------------------------------------------------------------------------------------

    def get_parent(self, channel: str | None = None) -> dict[str, Any]:
        """The last request, as a message dict."""
        return self._parents.get(channel or "shell", {})

    def set_parent(self, ident: Any, parent: dict[str, Any], channel: str = "shell") -> None:
        """Makes this the request that is answered."""
        self._parents[channel] = parent

    def send_response(
        self, stream: Any, msg_or_type: Any, content: Any = None, *args: Any, channel: str | None = None, **kwargs: Any
    ) -> Any:
        """Sends a message for the last request, with `session`."""
        if not self.session:
            return None
        return self.session.send(stream, msg_or_type, content, self.get_parent(channel), *args, **kwargs)

    def _publish_status(self, status: str, channel: str, parent: dict[str, Any] | None = None) -> None:
        content = {"execution_state": status}
        self.session.send(self.iopub_socket, "status", content, parent=parent or self.get_parent(channel))
