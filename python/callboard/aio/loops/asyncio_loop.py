"""asyncio as the event loop of a Caller."""

from __future__ import annotations

import asyncio
import contextlib
import time
from asyncio import Task
from typing import TYPE_CHECKING, Any

from ...context import report_for_parent, report_stray
from . import CALLING, OUTERMOST

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Callable, Coroutine

    from .base import Served

#: When the loop ends, seconds until a task that goes on is cancelled again. (trio cancels what goes on at each of its
#: checkpoints.)
_INSISTENCE = 3.0

#: A loop that fails within so many seconds of its start is started anew after a pause, seconds.
_AT_ONCE = 0.001
_PAUSE = 0.05


class AsyncioTask:
    raw: asyncio.Task[Any] = None  # type: ignore[assignment]
    cancel_has_come = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def cancel_soon(self, before: Callable[[], object] | None = None) -> None:
        if self.raw is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has closed, and the task with it
            # Also from the loop's own thread: only this wakes a loop that waits. On free-threaded Python, a method of a
            # task that computes blocks other threads until that waits: none is called here.
            self._loop.call_soon_threadsafe(self._cancel, before)

    def _cancel(self, before: Callable[[], object] | None) -> None:
        if before is not None:
            before()
        self.cancel_has_come = True
        self.raw.cancel()

    def is_being_cancelled(self) -> bool:
        return self.raw.cancelling() > 0

    def uncancel(self) -> None:
        self.cancel_has_come = False
        while self.raw.cancelling():
            self.raw.uncancel()

    def may_be_hit(self) -> bool:
        return True

    async def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    def was_cancelled(self) -> bool:
        return False


class AsyncioTasks:
    """Starts tasks in an asyncio loop. They are made directly: `create_task` may have been replaced, a task factory of
    the user's may fail, and an eager one begins a task where it is made, in a context that may be in use."""

    is_borrowed = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # asyncio itself refers to tasks weakly.
        self._all: set[asyncio.Task[Any]] = set()

    def starts_tasks_later(self) -> bool:
        return True

    def is_stale(self) -> bool:
        return False

    def forget(self) -> None:
        pass

    def spawn(
        self,
        func: Callable[..., Awaitable[Any]],
        *args: Any,
        context: contextvars.Context | None = None,
        on_done: Callable[[], None] | None = None,
        name: str = "call",
    ) -> AsyncioTask:
        task = AsyncioTask(self.loop)
        raw = task.raw = Task(func(task, *args), loop=self.loop, name=name, context=context)  # type: ignore[arg-type]
        self._all.add(raw)

        def done(raw: asyncio.Task[Any]) -> None:
            self._all.discard(raw)
            if not raw.cancelled():
                # Retrieved, so that asyncio does not complain: the Pending has the exception.
                raw.exception()
            if on_done is not None:
                on_done()

        raw.add_done_callback(done)
        return task

    def spawn_plain(
        self, func: Callable[..., Coroutine[Any, Any, Any]], arg: Any, context: contextvars.Context | None
    ) -> None:
        task = AsyncioTask(self.loop)
        task.raw = Task(func(task, arg), loop=self.loop, context=context)


class AsyncioLoop(AsyncioTasks):
    """asyncio's event loop, in the thread of a Caller."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.loop.set_exception_handler(report_for_parent)
        self._stopping = False
        self._grace: float | None = None
        self._is_protected = False

    def run(self, served: Served) -> None:
        """Runs until `stop`."""
        loop, fileno = self.loop, served.fileno()
        self._is_protected = served.is_protected
        asyncio.set_event_loop(loop)
        try:
            loop.call_soon(served.begin)
            loop.add_reader(fileno, served.drain)
            while not self._stopping:
                self._run(loop.run_forever)
        except BaseException as error:
            served.failed(error)
            raise
        finally:
            try:
                self._cancel_all()
            finally:
                with contextlib.suppress(RuntimeError):  # it is closed
                    loop.remove_reader(fileno)
                loop.close()
                asyncio.set_event_loop(None)

    def stop(self, grace: float | None = None) -> None:
        self._stopping, self._grace = True, grace
        self.loop.stop()

    def _run(self, run: Callable[..., Any], *args: Any) -> None:
        began = time.monotonic()
        try:
            run(*args)
        except BaseException as error:
            if self.loop.is_closed() or not (self._is_protected or isinstance(error, (KeyboardInterrupt, SystemExit))):
                raise
            # A callback, trace function or hook of the user's has raised it, and no cell waits for it.
            report_stray(error)
            if time.monotonic() - began < _AT_ONCE:
                # It may come each time.
                time.sleep(_PAUSE)

    def _cancel_all(self) -> None:
        """Cancels the tasks that still run, so that ``finally`` blocks of the user's are executed."""
        loop = self.loop
        if loop.is_closed():
            return
        end = None if self._grace is None else loop.time() + self._grace
        while tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            left = _INSISTENCE if end is None else min(_INSISTENCE, max(0, end - loop.time()))
            self._run(loop.run_until_complete, asyncio.wait(tasks, timeout=left))
            if left == 0:
                # Tasks that do not end are left behind.
                break
        self._run(loop.run_until_complete, loop.shutdown_asyncgens())


OUTERMOST.add(AsyncioLoop._run.__code__)
CALLING.add(AsyncioTask.wait_for.__code__)
