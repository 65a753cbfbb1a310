"""Loads what tracebacks need while a cell runs for long, because that cell is likely to be interrupted.

The first traceback takes 0.1 s: it imports Pygments and stack_data and makes their tables. A kernel that runs only
short cells never does this.
"""

from __future__ import annotations

import copy
import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from ..callers.caller import Caller
    from ..ipython.shell.shell import ZMQInteractiveShell
    from ..protocols import CellLike, ShellLike

logger = logging.getLogger("callboard.shell")

#: A cell runs for long if it is seen running twice, this many seconds apart.
LONG = 0.05

#: The maximum number of coroutines followed from a cell to what it awaits.
_DEEP = 50


class TracebackWarmup:
    """Watches, on the thread of `Control`, whether the main thread runs a cell for long."""

    def __init__(self, shell: ZMQInteractiveShell, caller: Caller, control: Caller) -> None:
        self._shell = shell
        self._caller = caller
        self._control = control
        self._is_watching = False
        self._is_ready = False

    def begin(self) -> None:
        """Watches a cell that has arrived. Call it on the main thread."""
        if not self._is_watching:
            self._is_watching = True
            self._control.call_later(LONG, self._look, [])

    def _look(self, before: list[CellLike]) -> None:
        running = self._caller.loop_thread.calls.cells()
        long = [cell for cell in running if any(cell is other for other in before)]
        if running and not long:
            self._control.call_later(LONG, self._look, running)
            return
        self._go_on(self._steps(long))

    def _steps(self, cells: list[CellLike]) -> Iterator[None]:
        """Yields between the steps, so that the thread can answer requests: a client may wait for completion."""
        if cells and not self._is_ready:
            self._is_ready = True
            from ..ipython import tracebacks

            tracebacks.prepare()
            yield
            tracebacks.load_lexer()
            yield
            show_one(self._shell)
            yield
        for cell in cells:
            for frame in awaited(cell.task.raw, cell.shell):
                read_source(frame)
                yield

    def _go_on(self, steps: Iterator[None]) -> None:
        from ..util.switch_interval import short_switch_interval

        try:
            with short_switch_interval():
                next(steps)
        except StopIteration:
            self._is_watching = False
        except Exception:
            # The first traceback is slower, no more.
            self._is_watching = False
            logger.debug("tracebacks are not prepared", exc_info=True)
        else:
            self._control.call_later(0, self._go_on, steps)


def show_one(shell: ZMQInteractiveShell) -> None:
    """Formats a traceback and drops it, to load the modules that this needs."""
    formatter = copy.copy(shell.InteractiveTB)
    try:
        msg = "an example"
        raise RuntimeError(msg)
    except RuntimeError as error:
        formatter.structured_traceback(RuntimeError, error, error.__traceback__)


def awaited(task: Any, shell: ShellLike) -> list[FrameType]:
    """The frames of the coroutines that the code of a cell awaits now, outermost first."""
    frames: list[FrameType] = []
    is_in_cell = False
    coroutine = task.get_coro() if hasattr(task, "get_coro") else getattr(task, "coro", None)
    for _ in range(_DEEP):
        frame = getattr(coroutine, "cr_frame", None)
        if frame is None:
            break
        if is_in_cell:
            frames.append(frame)
        is_in_cell = is_in_cell or shell.compile.format_code_name(frame.f_code.co_filename) is not None
        coroutine = getattr(coroutine, "cr_await", None)
    return frames


def read_source(frame: FrameType) -> None:
    """Reads and parses the file of this frame as tracebacks do: the slowest part of them."""
    stack_data = sys.modules.get("stack_data")
    if stack_data is not None:
        source = stack_data.Source.executing(frame).source
        if source.tree is not None:
            source.pieces  # noqa: B018 - kept from now on
