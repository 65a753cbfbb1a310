"""The handler of SIGINT: interrupts the code that runs on the main thread."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from .. import nested_loops, patches
from .._core import interrupt_again, watch_sigint
from ..aio.cancellation import current_task, in_trio_task, is_protected_by_trio
from ..aio.loops import OUTERMOST
from ..context import current_cell
from ..nested_loops import sigint
from ..util import import_hook
from ..util.origins import OWN, PACKAGES, STANDARD
from . import user_handlers
from .traceback_cutoff import ends_tracebacks

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import CodeType, FrameType

    from ..protocols import DebuggerLike, ThreadInterruptsLike
    from .call import Call
    from .user_handlers import UserHandler

# Packages of event loops, and of the code between them and what they run.
_LOOPS = {"asyncio", "selectors", "uvloop", "trio", "trio_asyncio", "outcome", "sniffio", "importlib"}

# Modules that run between an event loop and the code that has started it, or between an import and its code.
_WRAPPERS = (nested_loops.__name__, import_hook.__name__)


class Interrupts:
    """Raises ``KeyboardInterrupt`` in user code that runs, and cancels cells that await.

    The signal itself ends a blocking system call of the main thread; Python calls the handler after that. While the
    event loop waits, an exception would end the loop and not the cell. So the task of the cell is cancelled, and the
    cell shows ``KeyboardInterrupt``.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        #: The cells and calls that run on the main thread, by task.
        self._running: dict[Any, Call] = {}
        #: Interrupts the cells of other threads. None: interrupts are ignored.
        self._threads: ThreadInterruptsLike | None = None
        self._user_code: Collection[CodeType] = ()
        self._shielded: Collection[CodeType] = ()
        #: The next SIGINT is for these only: their time limit is reached, or their interrupt was swallowed. Any thread
        #: adds to it.
        self._only: deque[Call] = deque()
        #: The debugger, while it is attached.
        self.debugger: DebuggerLike | None = None
        #: Whether a comm handler of the user's has control.
        self.in_handler = False

    def install(self) -> None:
        """Handles SIGINT from now on, and unblocks it: one may be pending. Ignores it until `start`."""
        user_handlers.install(self.may_raise, self._handle_instead, self._handle)
        patches.put("signal:SIGINT", self._handle)
        watch_sigint()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._deliver_what_is_swallowed()

    def start(
        self,
        running: dict[Any, Call],
        threads: ThreadInterruptsLike,
        user_code: Collection[CodeType],
        shielded: Collection[CodeType],
    ) -> None:
        """Interrupts cells from now on: those of the main thread (`running`) and those of other threads. `user_code` is
        code of cells' whose callees are the user's, `shielded` code within which none of these is hit."""
        self._user_code, self._shielded = user_code, shielded
        self._running = running
        self._threads = threads

    def stop(self) -> None:
        """Ignores interrupts from now on."""
        self._threads = None

    def begin_cell(self) -> None:
        """Resumes the watch over SIGINT (`src/os/sigint.rs`): an earlier cell may have replaced the handler and put it
        back, which ends the watch. Call it before each cell of the main thread."""
        watch_sigint()

    def interrupt_only(self, call: Call) -> None:
        """Interrupts this cell of the main thread and no other. May be called from any thread."""
        self._only.append(call)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def _deliver_what_is_swallowed(self) -> None:
        """Repeats an interrupt that Python has swallowed because it has hit a finalizer, a ``fork`` hook or a callback
        of C code."""
        report = sys.unraisablehook

        def hook(unraisable: Any) -> None:
            threads = self._threads
            if unraisable.exc_type is not KeyboardInterrupt or threads is None or os.getpid() != self._pid:
                report(unraisable)
            elif threading.current_thread() is not threading.main_thread():
                if not threads.interrupt_again():
                    report(unraisable)
            elif running := set(self._running.values()):
                for call in running:
                    call.mark_swallowed()
                self._only.extend(running)
                interrupt_again()

        patches.put("sys:unraisablehook", hook)

    @ends_tracebacks
    def _handle(self, signum: int, frame: FrameType | None) -> None:
        sigint.sigint_noticed()
        threads = self._threads
        if threads is None:
            return
        running = set(self._running.values())
        current = self._current()
        only = [self._only.popleft() for _ in range(len(self._only))]
        if only:
            running.intersection_update(only)
        else:
            threads.interrupt_all()
        # Cells that wait stop, whatever has control now.
        for call in running:
            if call is not current and call.is_cell:
                call.cancel()
        if current is not None and current in running:
            # Outside of its user code, a cell checks this itself.
            current.mark_interrupted()
            debugger = self.debugger
            if debugger is not None and debugger.has_control(frame):
                if not debugger.interrupt(threading.get_ident()):
                    self._only.append(current)
                    interrupt_again()
            elif current.in_user_code:
                # A nested loop decides by itself what may be hit.
                if sigint.outer_task() is not None or current.task.may_be_hit():
                    sigint.interrupt(signum, frame)
                else:
                    current.cancel()
        elif not only and (self.in_handler or self._is_user_callback(frame)):
            sigint.interrupt(signum, frame)

    def _handle_instead(self, users: UserHandler, signum: int, frame: FrameType | None) -> bool:
        """Handles SIGINT in the place of a handler of the user's if a cell stands in the debugger, or if that handler
        is pdb's, which stays when its cell has ended. Returns whether it has."""
        if signum != signal.SIGINT:
            return False
        bdb = sys.modules.get("bdb")
        is_left = bdb is not None and isinstance(getattr(users.handler, "__self__", None), bdb.Bdb)
        if is_left:
            cell: Any = users.context.get(current_cell)
            is_left = cell is not None and all(cell is not each for each in self._running.values())
        if not is_left and (self.debugger is None or not self.debugger.has_control(frame)):
            return False
        self._handle(signum, frame)
        return True

    def may_raise(self, frame: FrameType | None) -> bool:
        """Whether the code that a signal has interrupted may be hit by what another handler raises: it is the user's,
        or this is no running kernel, or a child that was forked from it."""
        if self._threads is None or os.getpid() != self._pid:
            return True
        if sigint.is_switching():
            return False
        call = self._current()
        if call is None:
            return self.in_handler or (self._is_user_callback(frame) and not _is_own(frame))
        if not call.in_user_code or not (sigint.outer_task() is not None or call.task.may_be_hit()):
            return False
        # Not in IPython's code around the user's: it would leave locks taken.
        return not call.is_cell or self._is_in_users(frame)

    def _is_in_users(self, frame: FrameType | None) -> bool:
        """Whether this is code of a cell's own, or called by it."""
        is_inside = False
        while frame is not None:
            if frame.f_code in self._shielded:
                return False
            is_inside = is_inside or frame.f_code in self._user_code
            frame = frame.f_back
        return is_inside

    def _current(self) -> Call | None:
        """The cell or call that has control on the main thread now. None if all of them wait."""
        if threading.current_thread() is not threading.main_thread():
            return None
        return self._running.get(sigint.outer_task() or current_task())

    def _is_user_callback(self, frame: FrameType | None) -> bool:
        """Whether the event loop runs a callback or task of the user's that is no cell."""
        if in_trio_task():
            return not is_protected_by_trio()
        inner: FrameType | None = None
        while frame is not None and frame.f_code not in OUTERMOST:
            module = frame.f_globals.get("__name__") or ""
            if module.partition(".")[0] not in _LOOPS and not module.startswith(_WRAPPERS):
                inner = frame
            frame = frame.f_back
        if frame is None or inner is None:
            return False
        filename = inner.f_code.co_filename
        # Otherwise it belongs to the kernel or to the event loop.
        return not filename.startswith(OWN) and (filename.startswith(PACKAGES) or not filename.startswith(STANDARD))


def _is_own(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_code.co_filename.startswith(OWN)
