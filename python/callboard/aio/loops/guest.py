"""An event loop as the guest of another one, in the thread of a Caller: trio on asyncio, asyncio on trio."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import trio

from ...context import report_for_parent
from ..cancellation import is_cancellation
from ..pending import Pending
from .asyncio_loop import AsyncioTasks
from .trio_loop import TrioTasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import Task, Tasks


class Guest:
    """The other event loop, in the thread of a Caller. To be used in its host's thread only."""

    def __init__(self, on_end: Callable[[BaseException | None], None]) -> None:
        self._on_end = on_end
        #: Done when it has ended.
        self.ended: Pending[None] = Pending()
        self._waiting: list[Callable[[Tasks], object]] | None = []
        self._tasks: Any = None

    def call(self, start: Callable[[Tasks], object]) -> None:
        """Calls ``start(tasks)`` in the guest's loop, soon."""
        if self._waiting is not None:
            self._waiting.append(start)
        else:
            self._call_soon(start)

    def stop(self) -> None:
        """Cancels its tasks and ends it."""
        self.call(lambda _tasks: self._end.set())

    def _end_with(self, error: BaseException | None) -> None:
        self._on_end(error)
        self.ended.set_result(None)

    def _begin(self, tasks: Any, end: trio.Event) -> None:
        """The guest runs now: calls what has waited for it."""
        self._tasks, self._end = tasks, end
        waiting, self._waiting = self._waiting or [], None
        for start in waiting:
            self._call_soon(start)

    def _call_soon(self, start: Callable[[Tasks], object]) -> None:
        """Does nothing if the guest is closed, and only has to say that it has ended."""
        raise NotImplementedError


class AsyncioGuest(Guest):
    """asyncio in the thread of a trio Caller: trio-asyncio's loop, as a task of trio's."""

    def __init__(self, host: Tasks, on_end: Callable[[BaseException | None], None]) -> None:
        super().__init__(on_end)
        self._error: BaseException | None = None
        host.spawn(self._run, on_done=self._ended)

    async def _run(self, _task: Task) -> None:
        # Has been imported, by what checks whether there may be a guest.
        import trio_asyncio

        try:
            async with trio_asyncio.open_loop() as loop:
                loop.set_exception_handler(report_for_parent)
                end = trio.Event()
                self._begin(AsyncioTasks(loop), end)
                await end.wait()
        except BaseException as error:
            if is_cancellation(error):
                raise
            self._error = error

    def _ended(self) -> None:
        self._end_with(self._error)

    def _call_soon(self, start: Callable[[Tasks], object]) -> None:
        if not self._tasks.loop.is_closed():
            self._tasks.loop.call_soon_threadsafe(start, self._tasks)


class TrioGuest(Guest):
    """trio in the thread of an asyncio Caller: trio's own guest mode."""

    def __init__(self, host: AsyncioTasks, on_end: Callable[[BaseException | None], None]) -> None:
        super().__init__(on_end)

        def ended(outcome: Any) -> None:
            self._end_with(getattr(outcome, "error", None))

        trio.lowlevel.start_guest_run(
            self._run,
            run_sync_soon_threadsafe=host.loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=host.loop.call_soon,
            done_callback=ended,
            host_uses_signal_set_wakeup_fd=True,
        )

    async def _run(self) -> None:
        end = trio.Event()
        self._begin(TrioTasks(), end)
        await end.wait()

    def _call_soon(self, start: Callable[[Tasks], object]) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._tasks.token.run_sync_soon(start, self._tasks)
