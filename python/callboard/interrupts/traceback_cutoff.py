"""Cuts the kernel's own frames off the traceback of a `KeyboardInterrupt`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, TracebackType

    _Function = TypeVar("_Function", bound=Callable[..., Any])

#: Code of the kernel that raises `KeyboardInterrupt`, or waits and gets it: the handler of SIGINT, ``input()``.
TRACEBACK_CUTOFF: set[CodeType] = set()


def ends_tracebacks(function: _Function) -> _Function:
    """Marks a function, as a decorator: tracebacks of a `KeyboardInterrupt` end at its call."""
    TRACEBACK_CUTOFF.add(function.__code__)
    return function


def cut_traceback(traceback: TracebackType) -> None:
    """Cuts the traceback of a `KeyboardInterrupt` behind the user's code, and before a frame without a line number (the
    function had just been called), which IPython cannot format."""
    at: TracebackType | None = traceback
    while at is not None and at.tb_next is not None:
        following = at.tb_next
        if following.tb_frame.f_code in TRACEBACK_CUTOFF or following.tb_lineno is None:
            at.tb_next = None
        at = at.tb_next
