"""The calls that run in the thread of a Caller."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Coroutine
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from .. import _core
from ..aio.cancellation import is_cancellation, is_heeded
from ..aio.loops import CALLING
from ..aio.pending import Pending, Running
from ..interrupts.call import Call

if TYPE_CHECKING:
    from types import CodeType

    from ..aio.loops.base import Task
    from ..protocols import CellLike, DebuggerLike
    from .state import Status

#: Code whose callees are the user's: an interrupt of a thread's cells hits only frames below it.
USER_CODE: set[CodeType] = set()
#: Code within which nothing is interrupted.
UNINTERRUPTIBLE_CODE: set[CodeType] = set()
#: When a cell that ran no user code is looked at again, seconds: the first time, and at most.
_HIT_AGAIN, _HIT_AGAIN_AT_MOST = 0.005, 0.1


class PendingCall(Call):
    """A call that has begun and not ended."""

    def __init__(self, task: Task, pen: Pending[Any], ident: int) -> None:
        self.task = task
        self.pen = pen
        self._ident = ident
        self.guard = _core.AsyncExcGuard()
        #: Why it has been asked to end, if not by its Pending.
        self.why: str | None = None

    @property
    def in_user_code(self) -> bool:
        return self.guard.inside

    def cancel_pending(self, _message: str | None) -> None:
        """Cancels a coroutine that waits; a function that computes, in another thread than the calling one, gets a
        `KeyboardInterrupt` there."""
        if self._ident != threading.get_ident():
            # Also if it is just about to compute: then the loop would not come to cancel it.
            self.guard.throw(KeyboardInterrupt, UNINTERRUPTIBLE_CODE)
        self.task.cancel_soon(self.guard.forget)

    def stop(self, why: str) -> None:
        """Cancels it, unless it ends in time."""
        self.why = why
        self.cancel_pending(None)


class RunningCalls:
    """The calls and cells that run in the thread of a Caller."""

    #: Calls a function in the thread `Control` of a kernel: ``call_later(seconds, function, *args)``.
    call_later: Callable[..., object] | None = None
    #: The debugger, while it is attached: it interrupts threads that stand.
    debugger: DebuggerLike | None = None

    def __init__(self, status: Status) -> None:
        self._status = status
        #: The ident of the thread, once there is one.
        self.ident = 0
        #: By task.
        self.by_task: dict[Any, Call] = {}
        #: Calls that have been told to end, and are not to be cancelled.
        self.told_to_stop: set[Pending[Any]] = set()
        #: Around the comm handler that runs now, in the thread of a subshell.
        self.handler: _core.AsyncExcGuard | None = None

    def let_end(self, pen: Pending[Any]) -> None:
        """Does not cancel this call when the Caller stops: it has been told to end."""
        self.told_to_stop.add(pen)
        pen.add_done_callback(self.told_to_stop.discard)

    def calls(self) -> list[PendingCall]:
        """The calls that have begun and not ended. From any thread."""
        return [call for call in list(self.by_task.values()) if isinstance(call, PendingCall)]

    def stop(self) -> list[Pending[Any]]:
        """Cancels the calls. Returns them all, also those that have been told to end."""
        found = self.calls()
        for call in found:
            if call.pen not in self.told_to_stop:
                call.stop(self._status.why())
        return [call.pen for call in found]

    def cells(self) -> list[CellLike]:
        """The cells that run. From any thread, and by a signal handler."""
        return [call for call in list(self.by_task.values()) if call.is_cell]  # type: ignore[misc]

    def interrupt(self, cells: list[CellLike]) -> None:
        """Interrupts those of these cells that still run: what computes gets a `KeyboardInterrupt`, what awaits is
        cancelled. From any thread but their own."""
        running = [cell for cell in self.cells() if cell in cells]
        if not running:
            return
        for cell in running:
            cell.mark_interrupted()
        hit = self._hit()
        for cell in running:
            if len(running) > 1 or not hit:
                cell.cancel()
        if not hit:
            self._hit_later(running, _HIT_AGAIN)

    def _hit(self) -> bool:
        if self.debugger is not None and self.debugger.interrupt(self.ident):
            return True
        return _core.raise_in_thread(self.ident, KeyboardInterrupt, USER_CODE, UNINTERRUPTIBLE_CODE)

    def _hit_later(self, cells: list[CellLike], seconds: float) -> None:
        if self.call_later is not None:
            self.call_later(seconds, self._hit_again, cells, seconds)

    def _hit_again(self, cells: list[CellLike], seconds: float) -> None:
        """Hits cells that ran code of IPython's when they were interrupted (between two of their statements, say), and
        have not come to a wait since, where they would be cancelled."""
        running = [cell for cell in self.cells() if cell in cells and not cell.task.cancel_has_come]
        if running and not self._hit():
            self._hit_later(running, min(2 * seconds, _HIT_AGAIN_AT_MOST))

    async def run(self, task: Task, pen: Pending[Any]) -> None:
        """Runs a call, as a task that `Tasks.spawn_plain` has started."""
        if pen.done():
            return
        raw = task.raw
        call = PendingCall(task, pen, self.ident)
        self.by_task[raw] = call
        runner = Running(pen)
        runner.__enter__()
        try:
            pen.set_canceller(call.cancel_pending)
            # It is in `by_task` now: what stops the Caller either finds it there, or is seen here.
            if self._status.stopping.done():
                pen.cancel(self._status.why())
            if not pen.cancelled():
                metadata, guard = pen.metadata, call.guard
                result = guard.call(metadata["func"], metadata["args"], metadata["kwargs"])
                if is_coroutine(result):
                    result = await task.wait_for(guard.wrap(result))
                if task.was_cancelled() and not pen.cancelled():
                    pen.cancel(call.why or "its task was cancelled")
                pen.set_result(result)
        except BaseException as error:
            is_end = is_cancellation(error) or (call.why and isinstance(error, KeyboardInterrupt))
            if is_end and not pen.cancelled():
                pen.cancel(call.why or "its task was cancelled")
            if not pen.cancelled():
                pen.set_exception(_without_own_frames(error))
            if is_heeded(error):
                raise
        finally:
            if pen.cancelled():
                pen.set_result(None)
            with contextlib.suppress(ValueError):  # garbage of a loop that is dead, in another context
                runner.__exit__()
            self.by_task.pop(raw, None)
            # The frames of the user's code, which an exception refers to, refer to this one.
            del pen, call, runner
            task = raw = metadata = guard = result = None  # type: ignore[assignment]


CALLING.add(RunningCalls.run.__code__)


def is_coroutine(result: Any) -> bool:
    """Whether a call has to await what its function has returned. Not whatever can be awaited: a function may return a
    Pending."""
    return isinstance(result, Coroutine) or (isinstance(result, GeneratorType) and inspect.isawaitable(result))


def _without_own_frames(error: BaseException) -> BaseException:
    """Lets a traceback begin in the user's code."""
    at = error.__traceback__
    while at is not None and at.tb_frame.f_code in CALLING:
        at = at.tb_next
    return error.with_traceback(at)
