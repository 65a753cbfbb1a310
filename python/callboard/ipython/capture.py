"""``%%capture`` for cells that run at the same time."""

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

from .. import patches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.interactiveshell import InteractiveShell

    from ..patches import Applied


@contextlib.contextmanager
def capture_output(
    shell: InteractiveShell, stdout: bool = True, stderr: bool = True, display: bool = True
) -> Iterator[CapturedIO]:
    """Captures what the calling context prints and displays, and the tasks and threads that it starts. IPython's
    ``capture_output`` captures the output of all cells."""
    out, err = StringIO() if stdout else None, StringIO() if stderr else None
    publisher = CapturingDisplayPublisher() if display else None
    outputs = publisher.outputs if publisher is not None else None
    with contextlib.ExitStack() as stand_ins:
        if out is not None:
            stand_ins.enter_context(_stand_in("sys:stdout", sys, out))
        if err is not None:
            stand_ins.enter_context(_stand_in("sys:stderr", sys, err))
        if publisher is not None:
            hook = CapturingDisplayHook(shell=shell, outputs=publisher.outputs)
            stand_ins.enter_context(
                _stand_in("IPython.core.interactiveshell:InteractiveShell.display_pub", shell, publisher)
            )
            stand_ins.enter_context(_stand_in("sys:displayhook", sys, hook))
        yield CapturedIO(out, err, outputs)


@contextlib.contextmanager
def _stand_in(target: str, owner: Any, value: Any) -> Iterator[None]:
    """Replaces a target of the table of patches, an attribute of `owner`, for the calling context only."""
    stand_in = _stand_ins.setdefault((target, id(owner)), _StandIn(target))
    stand_in.enter(owner)
    token = stand_in.value.set(value)
    try:
        yield
    finally:
        stand_in.value.reset(token)
        stand_in.leave()


class _StandIn:
    """Replaces a target while contexts capture: forwards to the object of the calling context, or to the one that was
    there before."""

    def __init__(self, target: str) -> None:
        self.value: ContextVar[Any] = ContextVar("callboard_captured", default=None)
        self._target = target
        self._lock = threading.Lock()
        self._patch: Applied | None = None
        self._shared: Any = None
        #: How many contexts capture.
        self._users = 0

    def enter(self, owner: Any) -> None:
        """Begins to capture in one more context."""
        with self._lock:
            self._users += 1
            if self._patch is None or self._patch.is_covered():
                self._undo()
                self._shared = getattr(owner, patches.TABLE[self._target].name)
                self._patch = patches.put(self._target, self, of=owner)

    def leave(self) -> None:
        """Ends capturing in one context."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._undo()

    def _undo(self) -> None:
        # Does nothing if user code has replaced it.
        if self._patch is not None:
            self._patch.undo()
            self._patch = None

    def _current(self) -> Any:
        own = self.value.get()
        return self._shared if own is None else own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current(), name)

    def __call__(self, *args: Any) -> Any:
        return self._current()(*args)


#: By target and id of the owner.
_stand_ins: dict[tuple[str, int], _StandIn] = {}
