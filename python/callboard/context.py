"""Which request the calling code runs for."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

from ._core import Parent, current_parent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Token

    from .cells.run import Cell
    from .ipython.shell.shell import ZMQInteractiveShell

__all__ = [
    "HasParent",
    "Parent",
    "current_cell",
    "current_parent",
    "current_shell",
    "follow_into_threads",
    "follow_into_trio",
    "report_for_parent",
]

#: The cell that the calling code belongs to; it may have ended.
current_cell: ContextVar[Cell | None] = ContextVar("callboard_cell", default=None)

#: The calling code runs as a part of its cell, which waits for it in another task: that of ``%%thread``, say.
part_of_cell: ContextVar[bool] = ContextVar("callboard_part", default=False)
#: The shell of a subshell that the calling code belongs to, where it belongs to no cell.
current_shell: ContextVar[ZMQInteractiveShell | None] = ContextVar("callboard_shell", default=None)


#: What tells which request, cell and shell code belongs to.
_VARIABLES: tuple[ContextVar[Any], ...] = (current_parent, current_cell, current_shell)

_following = False


def follow_into_threads() -> None:
    """Lets threads, and calls given to a thread pool, belong to the request that started them.

    asyncio hands a context on to tasks and callbacks by itself; ``threading`` does not (before Python 3.14,
    and there by option only).
    """
    global _following
    _following = True
    _patch_thread()
    _patch_pool()


class HasParent:
    """Which request the output of the calling code belongs to, under the names that ipykernel's streams and displays
    have for it. Here it is the same for all of them and for the shell."""

    @property
    def parent_header(self) -> dict[str, Any]:
        """The header of the request that the calling code runs for; empty if there is none."""
        return _shell().get_parent().get("header", {})

    @parent_header.setter
    def parent_header(self, parent: dict[str, Any]) -> None:
        self.set_parent(parent)

    def set_parent(self, parent: dict[str, Any]) -> None:
        """Output of the calling context belongs to this request (a message dict, or its header) from now on; so does
        that of threads which belong to none."""
        _shell().set_parent(parent)

    def set_thread_parent(self, parent: dict[str, Any]) -> Token[Parent]:
        """Like `set_parent`, for the calling thread only. Returns what `reset_thread_parent` takes."""
        return _shell().set_thread_parent(parent)

    def reset_thread_parent(self, token: Token[Parent]) -> None:
        """Undoes the `set_thread_parent` that returned the token."""
        _shell().reset_thread_parent(token)


def _shell() -> ZMQInteractiveShell:
    from .ipython.shell.shell import get_ipython

    return get_ipython()


def follow_into_trio() -> None:
    """Lets trio's system tasks belong to the request that started them, and reports there what they raise, which would
    end trio and all that runs on it. To be called once trio is imported; does nothing outside of kernels."""
    import trio

    original = trio.lowlevel.spawn_system_task
    if not _following or hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def spawn_system_task(async_fn: Any, *args: Any, name: object = None, context: Context | None = None) -> Any:
        values = _values() if context is None else []

        async def run() -> None:
            for variable, value in values:
                variable.set(value)
            try:
                await async_fn(*args)
            except (Exception, KeyboardInterrupt):  # noqa: BLE001 - told to the user
                traceback.print_exc()

        return original(
            trio.lowlevel.disable_ki_protection(run), name=async_fn if name is None else name, context=context
        )

    trio.lowlevel.spawn_system_task = spawn_system_task


def report_for_parent(loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
    """An exception handler for asyncio's loops: reports what tasks and callbacks raise as output of the cell that has
    started them, whichever runs now."""
    with _as_in(_context_of(what)):
        if isinstance(loop, asyncio.BaseEventLoop):
            # Not the loop's own one: that of trio-asyncio ends the loop.
            asyncio.BaseEventLoop.default_exception_handler(loop, what)
        else:
            loop.default_exception_handler(what)


def _context_of(what: dict[str, Any]) -> Context | None:
    for thing in (what.get("task"), what.get("future"), what.get("handle")):
        if hasattr(thing, "get_context"):
            return thing.get_context()
        # Before Python 3.12. (uvloop's handles have neither, but call the handler in their context.)
        context = getattr(thing, "_context", None)
        if context is None and sys.version_info < (3, 12):
            context = next((item for item in gc.get_referents(thing) if isinstance(item, Context)), None)
        if context is not None:
            return context
    return None


@contextlib.contextmanager
def _as_in(context: Context | None) -> Iterator[None]:
    """Lets what runs belong to the same request as what runs in this context; in no context, to the one it belongs to
    anyway. (The context itself may be in use.)"""
    tokens = [(variable, variable.set(context[variable])) for variable in _VARIABLES if context and variable in context]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


def _patch_thread() -> None:
    original = threading.Thread.start

    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        __tracebackhide__ = True
        values = _values()
        if values:
            run = self.run

            def run_for_parent() -> None:
                self.__dict__.pop("run", None)
                for variable, value in values:
                    variable.set(value)
                run()

            self.run = run_for_parent  # type: ignore[method-assign]
        original(self)

    threading.Thread.start = start  # type: ignore[method-assign]


def _patch_pool() -> None:
    original = ThreadPoolExecutor.submit

    @functools.wraps(original)
    def submit(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        values = _values()
        if not values:
            return original(self, fn, *args, **kwargs)
        return original(self, _call_for, values, fn, args, kwargs)

    ThreadPoolExecutor.submit = submit  # type: ignore[method-assign]


def _values() -> list[tuple[ContextVar[Any], Any]]:
    """What tells whom the calling code belongs to; nothing, if it belongs to no request."""
    if current_parent.get(None) is None:
        return []
    return [(variable, variable.get(None)) for variable in _VARIABLES]


def _call_for(values: list[tuple[ContextVar[Any], Any]], fn: Any, args: tuple, kwargs: dict) -> Any:
    tokens = [(variable, variable.set(value)) for variable, value in values]
    try:
        return fn(*args, **kwargs)
    finally:
        for variable, token in tokens:
            variable.reset(token)
