"""``%%capture`` for one cell of several that run at the same time."""

from __future__ import annotations

import contextlib
import sys
import threading
from contextvars import ContextVar
from io import StringIO
from typing import TYPE_CHECKING, Any

from IPython.core.displayhook import CapturingDisplayHook
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.utils.capture import CapturedIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.interactiveshell import InteractiveShell


@contextlib.contextmanager
def capture_output(
    shell: InteractiveShell, stdout: bool = True, stderr: bool = True, display: bool = True
) -> Iterator[CapturedIO]:
    """Captures what the calling context prints and displays, and what it starts does: other cells go on
    printing. (IPython's ``capture_output`` captures what anybody prints.)"""
    out, err = StringIO() if stdout else None, StringIO() if stderr else None
    publisher = CapturingDisplayPublisher() if display else None
    outputs = publisher.outputs if publisher is not None else None
    with contextlib.ExitStack() as places:
        if out is not None:
            places.enter_context(_stand_in(sys, "stdout", out))
        if err is not None:
            places.enter_context(_stand_in(sys, "stderr", err))
        if publisher is not None:
            places.enter_context(_stand_in(shell, "display_pub", publisher))
            places.enter_context(
                _stand_in(sys, "displayhook", CapturingDisplayHook(shell=shell, outputs=publisher.outputs))
            )
        yield CapturedIO(out, err, outputs)


@contextlib.contextmanager
def _stand_in(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Lets an attribute be `value` for the calling context only."""
    place = _places.setdefault((id(owner), name), _Place())
    place.occupy(owner, name)
    token = place.value.set(value)
    try:
        yield
    finally:
        place.value.reset(token)
        place.leave(owner, name)


class _Place:
    """What is put in the place of an attribute that all share, while some have one of their own."""

    def __init__(self) -> None:
        self.value: ContextVar[Any] = ContextVar("callboard_captured", default=None)
        self._lock = threading.Lock()
        self._shared: Any = None
        self._users = 0

    def occupy(self, owner: Any, name: str) -> None:
        with self._lock:
            self._users += 1
            if getattr(owner, name) is not self:
                self._shared = getattr(owner, name)
                setattr(owner, name, self)

    def leave(self, owner: Any, name: str) -> None:
        with self._lock:
            self._users -= 1
            # Somebody else may have put something in its place.
            if not self._users and getattr(owner, name) is self:
                setattr(owner, name, self._shared)

    def _current(self) -> Any:
        own = self.value.get()
        return self._shared if own is None else own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current(), name)

    def __call__(self, *args: Any) -> Any:
        return self._current()(*args)


_places: dict[tuple[int, str], _Place] = {}
