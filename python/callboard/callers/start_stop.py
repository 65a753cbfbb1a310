"""Tasks that are told to stop, and not cancelled."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, Self

from ..aio import cancel_scope, tracker
from ..aio.pending import Pending, ProtectedPending, current_pending
from ..aio.tracker import PendingManager

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ..aio.scheduler import Scheduler

__all__ = ["StartStopTask"]


class StartStopTask:
    """Runs a coroutine function that is stopped by being told so, and so runs to its end.

    The function takes two arguments before its own: what it calls once it has started, and a `Pending` that is done
    when it is to stop::

        async def serve(started, stop):
            started()
            await stop

        task = caller.create_start_stop_task(serve).start()
        ...
        await task.stop()

    It can be awaited, and is an asynchronous context that stops the task at its end; both after `start`. If the task
    ends before the context does, that is cancelled and raises `RuntimeError`, or what the task has raised.

    A Caller that stops tells its tasks to stop, and waits for them.
    """

    def __init__(self) -> None:
        #: Done when the function says that it has started, when it is asked to stop, and when it has ended.
        self.started: ProtectedPending[None] = ProtectedPending()
        self.stopping: ProtectedPending[None] = ProtectedPending()
        self.stopped: ProtectedPending[Any] = ProtectedPending()
        self._func: Callable[..., Any] | None = None
        self._caller: Scheduler | None = None
        self._begun = False
        self._scope: cancel_scope.CancelScope | None = None

    def __repr__(self) -> str:
        state = "not started"
        if self._begun:
            state = "starting" if not self.started.done() else "running"
        if self.stopping.done():
            state = "stopping"
        if self.stopped.done():
            state = "stopped"
        return f"<StartStopTask {state} func={self._func!r}>"

    @property
    def caller(self) -> Scheduler:
        """The Caller that runs it."""
        if self._caller is None:
            msg = "there is no Caller yet: call set_task_function first"
            raise RuntimeError(msg)
        return self._caller

    def set_task_function(self, func: Callable[..., Any], /, *, caller: Scheduler | None = None) -> Self:
        """Sets the function, and the Caller that runs it: that of the calling thread by default. Can be called once."""
        if self._func is not None:
            msg = "the function of this task can only be set once, and has been"
            raise RuntimeError(msg)
        self._caller = caller if caller is not None else tracker.caller_of_thread(threading.get_ident())
        self._func = func
        return self

    def start(self, *args: Any, **kwargs: Any) -> Self:
        """Starts the task with these arguments; a second call does nothing."""
        if self._func is None:
            msg = "the task function has not been set: call set_task_function first"
            raise RuntimeError(msg)
        if self._begun or self.stopping.done():
            return self
        self._begun = True
        caller = self.caller
        pen = caller.schedule_call(self._run, (self._func, args, kwargs), {}, None, PendingManager)
        caller.let_end(pen)
        pen.add_done_callback(self._ended)
        caller.stopping.add_done_callback(self.stop)
        return self

    async def _run(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        pen = current_pending.get()
        assert pen is not None
        # A cancellation, by its group or manager, tells it to stop.
        pen.set_canceller(self._asked_to_cancel)
        result = func(self._has_started, self.stopping, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    def _has_started(self) -> None:
        self.started.set_result(None)

    def _asked_to_cancel(self, _message: str | None) -> None:
        self.stop()

    def _ended(self, pen: Pending[Any]) -> None:
        self.caller.stopping.remove_done_callback(self.stop)
        self.started.cancel("the task has ended")
        if pen.cancelled():
            self.stopped.cancel(pen._message or "the task was cancelled")
        elif (error := pen.exception()) is not None:
            self.stopped.set_exception(error)
        else:
            self.stopped.set_result(pen.result())
        if (scope := self._scope) is not None and not self.stopping.done():
            scope.cancel()

    def stop(self, _pen: Any = None, /) -> ProtectedPending[Any]:
        """Tells the task to stop. Returns `stopped`."""
        self.stopping.set_result(None)
        if not self._begun:
            self.started.cancel(_EARLY)
            self.stopped.cancel(_EARLY)
        return self.stopped

    def _check_started(self) -> None:
        if not self._begun and not self.stopping.done():
            msg = "start must be called before this can be awaited or entered: use task.start()"
            raise RuntimeError(msg)

    def __await__(self) -> Generator[Any, None, Any]:
        self._check_started()
        return self.stopped.__await__()

    async def __aenter__(self) -> Self:
        self._check_started()
        if self._scope is not None:
            msg = "the context of a StartStopTask can only be used once: make another one"
            raise RuntimeError(msg)
        self._scope = cancel_scope.new_scope()
        await self.started.wait(result=False)
        self._scope.__enter__()
        if self.stopped.done() and not self.stopping.done():
            self._scope.cancel()
        return self

    async def __aexit__(self, *error: Any) -> bool:
        assert self._scope is not None
        ended_early = self.stopped.done() and not self.stopping.done()
        swallowed = self._scope.__exit__(*error)
        if ended_early:
            if not self.stopped.cancelled() and self.stopped.exception() is not None:
                self.stopped.result()
            msg = f"the task has stopped early: {self!r}"
            raise RuntimeError(msg)
        await self.stop().wait(shield=True, result=error[0] is None)
        return swallowed


_EARLY = "Stopped early: before it was started"
