"""The request, cell and shell that the calling code belongs to."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import traceback
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

from ._core import Parent, current_parent
from .util.errors import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Token

    from .protocols import CellLike, ShellLike

__all__ = [
    "HasParent",
    "Parent",
    "current_cell",
    "current_parent",
    "current_shell",
    "get_ipython",
    "part_of_cell",
    "release_output",
    "released_output",
    "report_for_parent",
    "report_stray",
    "request_variables",
    "set_main_shell",
]

logger = logging.getLogger("callboard.caller")

#: The cell that the calling code belongs to. It may have ended.
current_cell: ContextVar[CellLike | None] = ContextVar("callboard_cell", default=None)

#: Whether the calling code runs as a part of its cell in another task, for which the cell waits (``%%thread``).
part_of_cell: ContextVar[bool] = ContextVar("callboard_part", default=False)

#: The shell of the subshell that the calling code belongs to, if it belongs to no cell (comm handlers).
current_shell: ContextVar[ShellLike | None] = ContextVar("callboard_shell", default=None)

#: The variables that threads and callbacks inherit.
_VARIABLES: tuple[ContextVar[Any], ...] = (current_parent, current_cell, current_shell)

#: The shell that is no subshell; None until there is a kernel.
_main_shell: ShellLike | None = None


def set_main_shell(shell: ShellLike) -> None:
    """Makes this the shell of all code that belongs to no subshell."""
    global _main_shell
    _main_shell = shell


def get_ipython() -> ShellLike:
    """The shell that the calling code belongs to: that of its cell, or the main one. Raises `RuntimeError` where no
    kernel runs."""
    cell = current_cell.get()
    if cell is not None:
        return cell.shell
    shell = current_shell.get() or _main_shell
    if shell is None:
        msg = "no callboard kernel runs in this process"
        raise RuntimeError(msg)
    return shell


def request_variables() -> list[tuple[ContextVar[Any], Any]]:
    """The variables that tell which request the calling code belongs to, with their values; empty if it belongs to
    none."""
    if current_parent.get(None) is None:
        return []
    return [(variable, variable.get(None)) for variable in _VARIABLES]


def release_output() -> None:
    """From now on, what the calling thread or task prints and displays belongs to no cell of its own: it appears in the
    cell of the main shell that runs, or ran last."""
    for variable in _VARIABLES:
        variable.set(None)


@contextlib.contextmanager
def released_output() -> Iterator[None]:
    """Releases the output of the block, and of the threads and tasks that it starts, from the cell: it appears in the
    cell of the main shell that runs when it is written, or ran last. For threads that serve later cells."""
    tokens = [(variable, variable.set(None)) for variable in _VARIABLES]
    try:
        yield
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)


class HasParent:
    """The request that output of the calling code belongs to, under the names that ipykernel's streams and displays
    have for it. All of them share it with the shell."""

    @property
    def parent_header(self) -> dict[str, Any]:
        """The header of the request that the calling code runs for; empty if there is none."""
        header: dict[str, Any] = get_ipython().get_parent().get("header", {})
        return header

    @parent_header.setter
    def parent_header(self, parent: dict[str, Any]) -> None:
        self.set_parent(parent)

    def set_parent(self, parent: dict[str, Any]) -> None:
        """Assigns output of the calling context to this request (a message dict, or its header), and that of threads
        without a request."""
        get_ipython().set_parent(parent)

    def set_thread_parent(self, parent: dict[str, Any]) -> Token[Parent | None]:
        """Like `set_parent`, for the calling thread only. Returns what `reset_thread_parent` takes."""
        return get_ipython().set_thread_parent(parent)

    def reset_thread_parent(self, token: Token[Parent | None]) -> None:
        """Undoes the `set_thread_parent` that returned the token."""
        get_ipython().reset_thread_parent(token)


def report_for_parent(loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
    """Reports an exception of a task or callback in the cell that has started it. An exception handler for asyncio
    loops."""
    with _as_in(_context_of(what)):
        if isinstance(loop, asyncio.BaseEventLoop):
            # Not the loop's own handler: that of trio-asyncio ends the loop.
            asyncio.BaseEventLoop.default_exception_handler(loop, what)
        else:
            loop.default_exception_handler(what)


def report_stray(error: BaseException, context: Context | None = None) -> None:
    """Reports an exception of the user's code that no cell waits for, in the cell of this context, or of the callback
    that it comes from. Raises nothing, whatever is wrong with the streams."""
    try:
        with _as_in(context or _context_of_callback(error)):
            if isinstance(error, SystemExit):
                logger.warning("sys.exit() in a callback does not end the kernel: shut it down instead")
            else:
                traceback.print_exception(error)
    except BaseException as second:  # noqa: BLE001 - the streams are the user's as well
        # The terminal may be closed too: there is no other place.
        with contextlib.suppress(BaseException):
            print(f"callboard: a {type(error).__name__} cannot be shown: {text_of(second)}", file=sys.__stderr__)


def _context_of_callback(error: BaseException) -> Context | None:
    """The context of the asyncio callback that an exception comes from. (uvloop's callbacks have no frames.)"""
    at = error.__traceback__
    while at is not None:
        if isinstance(handle := at.tb_frame.f_locals.get("self"), asyncio.Handle):
            return _context_of({"handle": handle})
        at = at.tb_next
    return None


def _context_of(what: dict[str, Any]) -> Context | None:
    """The context of the task, future or handle that an exception handler is called for."""
    for name in ("task", "future", "handle"):
        thing: Any = what.get(name)
        context: Context | None
        if hasattr(thing, "get_context"):
            context = thing.get_context()
            return context
        # Before Python 3.12. (uvloop's handles have neither, but call the handler in their context.)
        context = getattr(thing, "_context", None)
        if context is None and sys.version_info < (3, 12):
            context = next((item for item in gc.get_referents(thing) if isinstance(item, Context)), None)
        if context is not None:
            return context
    return None


@contextlib.contextmanager
def _as_in(context: Context | None) -> Iterator[None]:
    """Assigns the block to the request of this context; leaves it alone if there is none.

    Copies the variables, because the context itself may be in use.
    """
    tokens = [(variable, variable.set(context[variable])) for variable in _VARIABLES if context and variable in context]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)
