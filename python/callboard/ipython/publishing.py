"""What streams and displays have in common on ipykernel: the request that they publish for, the session, and hooks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..context import HasParent, get_ipython

if TYPE_CHECKING:
    from collections.abc import Callable

    Hook = Callable[[dict[str, Any]], dict[str, Any] | None]


class _Hooks(threading.local):
    """The hooks of a thread, which may change or drop its messages."""

    def __init__(self) -> None:
        self.hooks: list[Hook] = []


class Publishing(HasParent):
    """Publishes messages for the request of the calling code, through the hooks of the calling thread if it has any."""

    #: The topic of what goes through hooks.
    topic: bytes
    _local: _Hooks
    #: What libraries have put in the place of the kernel's session and iopub socket.
    _own_session: Any = None
    _own_socket: Any = None

    def _init_publishing(self) -> None:
        self._local = _Hooks()

    def register_hook(self, hook: Hook) -> None:
        """Calls `hook` with each message of this thread before it is sent. The message that it returns is sent instead;
        if it returns None, nothing is sent."""
        self._local.hooks.append(hook)

    def unregister_hook(self, hook: Hook) -> bool:
        """Removes a hook. Returns False if it was not registered on this thread."""
        try:
            self._local.hooks.remove(hook)
        except ValueError:
            return False
        return True

    @property
    def _hooks(self) -> list[Hook]:
        """The hooks of the calling thread."""
        return self._local.hooks

    @property
    def _thread_local(self) -> _Hooks:
        """What has the hooks of each thread, as ``hooks``."""
        return self._local

    @property
    def session(self) -> Any:
        """Makes and sends messages: the kernel's, unless a library has replaced it."""
        return self._own_session or _kernel().session

    @session.setter
    def session(self, session: Any) -> None:
        self._own_session = None if session is _kernel().session else session

    @property
    def pub_socket(self) -> Any:
        """Where messages go: the kernel's iopub socket, unless a library has replaced it."""
        return self._own_socket or _kernel().iopub_socket

    @pub_socket.setter
    def pub_socket(self, socket: Any) -> None:
        self._own_socket = None if socket is _kernel().iopub_socket else socket

    def is_plain(self) -> bool:
        """Whether messages of the calling thread go to the kernel as they are."""
        return not self._local.hooks and self._own_session is None and self._own_socket is None

    def send(self, msg_type: str, content: dict[str, Any]) -> None:
        """Sends a message through the hooks and the session."""
        session = self.session
        msg: dict[str, Any] | None = session.msg(msg_type, content, parent=self.parent_header)
        for hook in list(self._local.hooks):
            msg = hook(msg)  # type: ignore[arg-type]
            if msg is None:
                return
        session.send(self.pub_socket, msg, ident=self.topic)


def _kernel() -> Any:
    return get_ipython().kernel
