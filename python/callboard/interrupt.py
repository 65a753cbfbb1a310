"""What SIGINT does to the code that runs on the main thread."""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import sys
import sysconfig
import threading
from typing import TYPE_CHECKING, Any

from ._core import interrupt_again, sigint_noticed, watch_sigint

if TYPE_CHECKING:
    from types import CodeType, FrameType

_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep

# A callback whose outermost code is in one of these is the kernel's own, or the event loop's housekeeping.
_OWN = os.path.dirname(__file__) + os.sep
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_PACKAGES = (sysconfig.get_path("purelib") + os.sep, sysconfig.get_path("platlib") + os.sep)


class Cell:
    """What an interrupt needs to know of a cell that has begun and not ended."""

    #: The cell's own code has control, and not what is around it: an exception raised now hits that code.
    in_user_code = False
    #: An interrupt has hit it, or asked for its cancellation.
    interrupted = False
    #: An interrupt has asked for its cancellation, or has been swallowed.
    cancel_requested = False


class Interrupts:
    """Turns SIGINT into ``KeyboardInterrupt`` in user code that runs, and into cancellation of cells that
    await.

    A blocking system call of the main thread has been cut short by the signal itself; the handler below is
    what Python calls then. While the event loop waits for something to happen, raising there would end the
    loop and not the cell: the cell's task is cancelled instead, and shows a ``KeyboardInterrupt``
    (ipykernel cannot interrupt ``await asyncio.sleep(60)`` otherwise either).
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        #: Cells that have begun and not ended, by task.
        self.cells: dict[asyncio.Task, Cell] = {}
        #: Code of the frame below which everything belongs to the event loop.
        self.outermost: CodeType | None = None
        self.enabled = False
        #: A handler of the user's (of comm messages) has control.
        self.in_handler = False
        #: Cells for which a swallowed interrupt is delivered again, while it is on its way.
        self._again: set[asyncio.Task] | None = None

    def install(self) -> None:
        """Handles SIGINT from now on, including one that has been held back so far; until ``enabled`` is set it is
        ignored."""
        signal.signal(signal.SIGINT, self._handle)
        watch_sigint()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._deliver_what_is_swallowed()

    def _deliver_what_is_swallowed(self) -> None:
        """Python swallows what is raised in a finalizer, a hook of ``fork`` or a callback of C code. An interrupt
        that happens to hit one of these is delivered again."""
        report = sys.unraisablehook

        def hook(unraisable: Any) -> None:
            mine = threading.current_thread() is threading.main_thread() and os.getpid() == self._pid
            if unraisable.exc_type is KeyboardInterrupt and self.enabled and mine:
                self._again = set(self.cells)
                for cell in self.cells.values():
                    cell.interrupted = cell.cancel_requested = True
                interrupt_again()
            else:
                report(unraisable)

        sys.unraisablehook = hook

    def was_interrupted(self, task: asyncio.Task | None) -> bool:
        """Whether an interrupt has cancelled this cell."""
        return task in self.cells and self.cells[task].interrupted

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        sigint_noticed()
        again, self._again = self._again, None
        if not self.enabled or (again is not None and again.isdisjoint(self.cells)):
            return
        cell = self.current_cell()
        if cell is not None:
            # Around its code, the cell looks at this itself.
            cell.interrupted = True
            if cell.in_user_code:
                raise KeyboardInterrupt
            return
        # Whatever else runs at this moment, cells that wait are to stop.
        for task in list(self.cells):
            self.cancel(task)
        if self.in_handler or self._is_user_callback(frame):
            raise KeyboardInterrupt

    def cancel(self, task: asyncio.Task) -> None:
        """Cancels a cell, which then shows a ``KeyboardInterrupt``."""
        cell = self.cells[task]
        cell.interrupted = cell.cancel_requested = True
        # Thread-safe, because only that wakes a loop which waits.
        task.get_loop().call_soon_threadsafe(task.cancel)

    def current_cell(self) -> Cell | None:
        """The cell that runs right now, as opposed to waiting."""
        try:
            return self.cells.get(asyncio.current_task())
        except RuntimeError:
            return None

    def _is_user_callback(self, frame: FrameType | None) -> bool:
        """Whether the event loop runs a callback or a task of the user's that is no cell."""
        inner: FrameType | None = None
        while frame is not None and frame.f_code is not self.outermost:
            if not frame.f_code.co_filename.startswith((_ASYNCIO, selectors.__file__, "<frozen")):
                inner = frame
            frame = frame.f_back
        if frame is None or inner is None:
            return False
        filename = inner.f_code.co_filename
        return not filename.startswith(_OWN) and (filename.startswith(_PACKAGES) or not filename.startswith(_LIBRARY))
