"""Finds the current task and recognizes cancellations, for asyncio and trio, without importing trio."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any

from .wakeups import current_library

if TYPE_CHECKING:
    from types import ModuleType


def _loaded_trio() -> ModuleType | None:
    # None also where sys.modules["trio"] is None.
    return sys.modules.get("trio")


def current_task() -> Any:
    """The task that runs the calling code, of the innermost event loop: asyncio's or trio's own object. None outside of
    tasks."""
    if current_library() == "trio":
        return _current_trio_task()
    loop = asyncio._get_running_loop()
    return None if loop is None else asyncio.current_task(loop)


def _current_trio_task() -> Any:
    trio = _loaded_trio()
    if trio is not None:
        # AttributeError: trio is just being imported.
        with contextlib.suppress(RuntimeError, AttributeError):
            return trio.lowlevel.current_task()
    return None


def in_trio_task() -> bool:
    """Whether a task of trio's, or trio on its behalf, has control in the calling thread."""
    return _current_trio_task() is not None


def is_protected_by_trio() -> bool:
    """Whether a signal has interrupted code of trio's in which no exception may be raised. For the signal's handler,
    while `in_trio_task`."""
    trio = _loaded_trio()
    return trio is not None and bool(trio.lowlevel.currently_ki_protected())


def cancelled_class() -> type[BaseException]:
    """The exception that the event loop of the calling code raises in tasks that are cancelled."""
    if current_library() == "trio":
        import trio

        return trio.Cancelled
    return asyncio.CancelledError


def is_cancellation(error: BaseException) -> bool:
    """Whether a loop raises this in a task that is cancelled."""
    if isinstance(error, asyncio.CancelledError):
        return True
    trio = _loaded_trio()
    if trio is None:
        return False
    if isinstance(error, BaseExceptionGroup):
        # A nursery was cancelled, and nothing else.
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


def is_heeded(error: BaseException) -> bool:
    """Whether the calling task is being cancelled, and has to raise this error."""
    if current_library() == "trio":
        return is_cancellation(error) and not isinstance(error, asyncio.CancelledError)
    task = None if asyncio._get_running_loop() is None else asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def is_stopped(error: BaseException) -> bool:
    """Whether an interrupt raises this, or a cancellation; a group, if all in it are."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_stopped(inner) for inner in error.exceptions)
    return isinstance(error, KeyboardInterrupt) or is_cancellation(error)
