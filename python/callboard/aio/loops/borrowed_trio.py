"""A trio run that a thread is in already, as the loop of a Caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .trio_loop import TrioTasks, serve, spawn_system_task

if TYPE_CHECKING:
    from .base import Served


class BorrowedTrio(TrioTasks):
    """The trio run that the calling thread is in already, as the loop of a Caller."""

    is_borrowed = True

    def __init__(self, served: Served) -> None:
        super().__init__()
        self._served = served
        self._scope = trio.CancelScope()
        spawn_system_task(self._watch, name="callboard inbox")

    async def _watch(self) -> None:
        try:
            with self._scope:
                await serve(self._served)
        finally:
            if not self._scope.cancel_called:
                with trio.CancelScope(shield=True):
                    await self._served.loop_ends()
            self._served.ended()

    def stop(self, _grace: float | None = None) -> None:
        self._scope.cancel()

    def starts_tasks_later(self) -> bool:
        return False

    def is_stale(self) -> bool:
        return False

    def forget(self) -> None:
        pass
