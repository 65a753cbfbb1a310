"""trio as the event loop of a Caller."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import trio

from ...context import report_stray
from ...context_inheritance import follow_into_trio
from ..cancellation import is_cancellation, is_protected_by_trio
from ..watch_trio import watch
from . import CALLING, OUTERMOST

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Callable, Coroutine

    from .base import Served

logger = logging.getLogger("callboard.caller")


def spawn_system_task(*args: Any, **kwargs: Any) -> trio.lowlevel.Task:
    """trio's own function, not the wrapper that a kernel puts in its place for users."""
    spawn = trio.lowlevel.spawn_system_task
    return getattr(spawn, "__wrapped__", spawn)(*args, **kwargs)


class TrioTask:
    raw: Any = None
    #: Called when it has ended; None once it is.
    on_done: Callable[[], None] | None = None
    _scope: trio.CancelScope | None = None

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token

    @property
    def scope(self) -> trio.CancelScope:
        """The scope that is cancelled. Made in trio's thread, where it is needed first."""
        if self._scope is None:
            self._scope = trio.CancelScope()
        return self._scope

    def cancel_soon(self, before: Callable[[], object] | None = None) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._cancel, before)

    def _cancel(self, before: Callable[[], object] | None) -> None:
        if before is not None:
            before()
        self.scope.cancel()

    def is_being_cancelled(self) -> bool:
        return self._scope is not None and self._scope.cancel_called

    @property
    def cancel_has_come(self) -> bool:
        return self.is_being_cancelled()

    def uncancel(self) -> None:
        """A trio scope stays cancelled until it ends."""

    def may_be_hit(self) -> bool:
        return not is_protected_by_trio()

    async def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        with self.scope:
            return await awaitable

    def was_cancelled(self) -> bool:
        return self._scope is not None and self._scope.cancelled_caught


class TrioTasks:
    """Starts tasks in the trio run of the thread that makes this, beside whatever else runs there."""

    def __init__(self) -> None:
        follow_into_trio()
        self.token = trio.lowlevel.current_trio_token()
        self._all: set[TrioTask] = set()
        self._emptied: trio.Event | None = None
        #: Functions to be called because a task has ended.
        self.done: deque[Callable[[], None]] = deque()
        #: The run is coming to its end: nothing can be spawned any more.
        self.closed = False

    def spawn(
        self,
        func: Callable[..., Awaitable[Any]],
        *args: Any,
        context: contextvars.Context | None = None,
        on_done: Callable[[], None] | None = None,
        name: str = "call",
    ) -> TrioTask:
        task = TrioTask(self.token)
        task.on_done = on_done
        self._all.add(task)
        # Interrupts may hit what it runs, but not trio's own code.
        run = trio.lowlevel.disable_ki_protection(self._run)
        task.raw = spawn_system_task(run, task, func, args, name=name, context=context)
        return task

    async def _run(self, task: TrioTask, func: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        try:
            task.raw = trio.lowlevel.current_task()
            with task.scope:
                await func(task, *args)
        except BaseException as error:
            if is_cancellation(error) or isinstance(error, GeneratorExit):
                raise
            # In a system task it would end trio.
            logger.exception("a task of a Caller failed")
        finally:
            self._all.discard(task)
            if self._emptied is not None and not self._all:
                self._emptied.set()
            if task.on_done is not None:
                # When the task has left its context, which the next one may share.
                self.done.append(task.on_done)
                task.on_done = None
                with contextlib.suppress(trio.RunFinishedError):
                    self.token.run_sync_soon(self.call_done)

    def spawn_plain(
        self, func: Callable[..., Coroutine[Any, Any, Any]], arg: Any, context: contextvars.Context | None
    ) -> None:
        task = TrioTask(self.token)
        func = trio.lowlevel.disable_ki_protection(func)
        task.raw = spawn_system_task(func, task, arg, name="call", context=context)

    def abandon(self) -> None:
        """Ends the tasks that trio has dropped when it failed."""
        self.closed = True
        for task in list(self._all):
            if task.raw is not None:
                with contextlib.suppress(RuntimeError):  # it will not end
                    task.raw.context.run(task.raw.coro.close)
            if task.on_done is not None:
                # It has failed before it began.
                self.done.append(task.on_done)
        self._all.clear()

    def call_done(self) -> None:
        """Calls the functions that are to be called because tasks have ended."""
        while self.done and not self.closed:
            self.done.popleft()()

    async def cancel_all(self) -> None:
        """Cancels all tasks that `spawn` has started, and waits until they have ended."""
        while self._all:
            for task in self._all:
                task.scope.cancel()
            self._emptied = trio.Event()
            await self._emptied.wait()


class TrioLoop:
    """trio's event loop, in the thread of a Caller."""

    is_borrowed = False

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._tasks: TrioTasks | None = None
        self._end: trio.Event | None = None
        self._stopping = False
        self._grace: float | None = None

    def run(self, served: Served) -> None:
        """Runs until `stop`. Starts trio anew when it has failed."""
        while not self._stopping:
            try:
                trio.run(self._main, served, **self._options)
            except trio.TrioInternalError as error:
                # Something of the user's that trio cannot go on after, such as a nursery that was entered and not left.
                report_stray(error)
                print("callboard: trio has failed, and all that ran on it. It is started anew", file=sys.stderr)
                if self._tasks is not None:
                    self._tasks.abandon()

    async def _main(self, served: Served) -> None:
        self._end = trio.Event()
        before, tasks = self._tasks, TrioTasks()
        self._tasks = tasks
        if before is not None:
            tasks.done.extend(before.done)
        served.begin()
        spawn_system_task(serve, served, name="callboard inbox")
        tasks.call_done()
        try:
            await self._end.wait()
            with trio.CancelScope() as scope:
                if self._grace is not None:
                    scope.deadline = trio.current_time() + self._grace
                await tasks.cancel_all()
        finally:
            tasks.closed = True

    def stop(self, grace: float | None = None) -> None:
        assert self._end is not None
        self._stopping, self._grace = True, grace
        self._end.set()

    def starts_tasks_later(self) -> bool:
        # CellQueue waits for `on_done`: the task has left the context by then.
        return False

    def is_stale(self) -> bool:
        return False

    def forget(self) -> None:
        pass

    def spawn(self, *args: Any, **kwargs: Any) -> TrioTask:
        """See `Tasks.spawn`."""
        assert self._tasks is not None
        return self._tasks.spawn(*args, **kwargs)

    def spawn_plain(self, *args: Any) -> None:
        """See `Tasks.spawn_plain`."""
        assert self._tasks is not None
        self._tasks.spawn_plain(*args)


async def serve(served: Served) -> None:
    """Drains the inbox of a Caller until it is cancelled, because the run ends."""

    def drain() -> None:
        try:
            served.drain()
        except BaseException as error:  # noqa: BLE001 - it would end trio
            report_stray(error)

    await watch(served.fileno(), drain, served.is_waited_for)


OUTERMOST.add(TrioLoop.run.__code__)
CALLING.add(TrioTask.wait_for.__code__)
