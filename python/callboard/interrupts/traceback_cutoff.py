"""Where the traceback of a `KeyboardInterrupt` ends: before the kernel's own frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, TracebackType

    _Function = TypeVar("_Function", bound=Callable[..., Any])

#: Code of the kernel's that a `KeyboardInterrupt` can come from: the handler of SIGINT, and what waits with the kernel.
TRACEBACK_CUTOFF: set[CodeType] = set()


def ends_tracebacks(function: _Function) -> _Function:
    """A decorator: tracebacks of a `KeyboardInterrupt` end at the call of this function."""
    TRACEBACK_CUTOFF.add(function.__code__)
    return function


def cut_traceback(traceback: TracebackType) -> None:
    """Ends the traceback of a `KeyboardInterrupt` where the user's code ends, and where a function has been called that
    was not yet in any of its lines: IPython cannot format that."""
    at: TracebackType | None = traceback
    while at is not None and at.tb_next is not None:
        following = at.tb_next
        if following.tb_frame.f_code in TRACEBACK_CUTOFF or following.tb_lineno is None:
            at.tb_next = None
        at = at.tb_next
