"""An asyncio loop that a thread runs already, as the loop of a Caller."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import weakref
from typing import TYPE_CHECKING

from ..wakeups import current_library
from .asyncio_loop import AsyncioTasks

if TYPE_CHECKING:
    from .base import Served


class BorrowedAsyncio(AsyncioTasks):
    """The asyncio loop that the calling thread runs already, as the loop of a Caller. Other code starts and ends it,
    and may forget to cancel its tasks."""

    is_borrowed = True

    def __init__(self, served: Served) -> None:
        super().__init__(asyncio.get_running_loop())
        self._served = served
        self._fileno = served.fileno()
        self._over = asyncio.Event()
        reader = _Reader(served)
        self._reader = weakref.ref(reader)
        # In no context: the one in which the Caller is made has nothing to do with its calls.
        contextvars.Context().run(self._start, reader)

    def _start(self, reader: _Reader) -> None:
        self.loop.add_reader(self._fileno, reader)
        self._watcher = asyncio.Task(self._watch(), loop=self.loop, name="callboard inbox")

    async def _watch(self) -> None:
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            # All tasks are cancelled, because the loop ends.
            await self._served.loop_ends()
            raise
        finally:
            if (reader := self._reader()) is not None:
                reader.served = None
                del reader
                self.loop.remove_reader(self._fileno)
                self._served.ended()

    def stop(self, _grace: float | None = None) -> None:
        self._over.set()

    def is_stale(self) -> bool:
        return self.loop.is_closed() or (current_library() is not None and not self.loop.is_running())

    def forget(self) -> None:
        if (reader := self._reader()) is not None:
            reader.served = None
        # The task may stay pending: no warning of asyncio's.
        self._watcher._log_destroy_pending = False  # type: ignore[attr-defined]
        with contextlib.suppress(RuntimeError):  # it is closed
            self.loop.remove_reader(self._fileno)
            self._watcher.cancel()


class _Reader:
    """Called by an asyncio loop when an inbox is readable. Only the loop refers to it, so it ends with the loop."""

    def __init__(self, served: Served) -> None:
        self.served: Served | None = served

    def __call__(self) -> None:
        if self.served is not None:
            self.served.drain()

    def __del__(self) -> None:
        if self.served is not None and not sys.is_finalizing():
            self.served.lost("its event loop was closed")
