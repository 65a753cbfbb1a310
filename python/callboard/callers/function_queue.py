"""Queues of calls of one function, which run one after the other."""

from __future__ import annotations

import contextlib
import inspect
import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from ..aio.cancellation import is_heeded
from ..aio.pending import Pending, current_pending
from ..aio.queue import SingleAsyncQueue
from ..aio.tracker import PendingManager
from .calls import is_coroutine
from .submit import sleep

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..aio.scheduler import Scheduler
    from .state import Status

logger = logging.getLogger("callboard.caller")

#: How long a queue runs calls before others on the loop get their turn, seconds.
_TURN = 0.001


class FunctionQueue:
    """The calls of one function that run one after the other."""

    def __init__(self) -> None:
        self.calls: SingleAsyncQueue[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = SingleAsyncQueue()
        #: The task that runs them.
        self.pen: Pending[None]
        self.finalizer: weakref.finalize[..., Any] | None = None

    def close(self) -> None:
        """Drops the calls that wait."""
        self.calls.stop()
        if self.finalizer is not None:
            self.finalizer.detach()


class FunctionQueues:
    """The queues of a Caller, by the hash of the function."""

    def __init__(self, status: Status) -> None:
        self._status = status
        # Reentrant: a finalizer may need it at any time.
        self._lock = threading.RLock()
        self._queues: dict[int, FunctionQueue] = {}

    def __len__(self) -> int:
        return len(self._queues)

    def call(
        self, scheduler: Scheduler, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Puts a call at the end of the queue of its function, which `scheduler` runs. Drops it if that has stopped."""
        key = hash(func)
        while not self._status.stopping.done():
            with self._lock:
                queue = self._queues.get(key)
                if queue is None or queue.pen.done():
                    queue = self._new(scheduler, key, func)
            if queue.calls.append((func, args, kwargs)):
                return
            # It was closed in between.
            self._forget(key, queue)
        logger.debug("%s: a queued call of %r is dropped", self._status.why(), func)

    def _new(self, scheduler: Scheduler, key: int, func: Callable[..., Any]) -> FunctionQueue:
        queue = self._queues[key] = FunctionQueue()
        with contextlib.suppress(TypeError):  # not every function can be weakly referred to
            target = func.__self__ if inspect.ismethod(func) else func
            queue.finalizer = weakref.finalize(target, _function_deleted, weakref.ref(self), key, weakref.ref(queue))
            queue.finalizer.atexit = False
        queue.pen = scheduler.schedule_call(self._run, (key, queue), {}, None, PendingManager)
        queue.pen.add_done_callback(lambda _pen: self._ended(key, queue))
        return queue

    def _ended(self, key: int, queue: FunctionQueue) -> None:
        queue.close()
        self._forget(key, queue)

    async def _run(self, key: int, queue: FunctionQueue) -> None:
        me = current_pending.get()
        turn = time.monotonic()
        try:
            async for func, args, kwargs in queue.calls:
                try:
                    result = func(*args, **kwargs)
                    if is_coroutine(result):
                        await result
                except BaseException as error:
                    is_end = isinstance(error, GeneratorExit) or (me is not None and me.cancelled())
                    if is_end or is_heeded(error):
                        raise
                    logger.exception("a queued call of %r failed", func)
                # While the task waits for the next call it must not keep the function alive.
                func = args = kwargs = result = None  # type: ignore[assignment]
                if time.monotonic() - turn > _TURN:
                    await sleep(0)
                    turn = time.monotonic()
        finally:
            self._forget(key, queue)

    def _forget(self, key: int, queue: FunctionQueue) -> None:
        if self._queues.get(key) is queue:
            del self._queues[key]

    def get(self, func: Callable[..., Any]) -> Pending[None] | None:
        """The Pending of the task that runs the queue of this function; None if there is no such queue."""
        queue = self._queues.get(hash(func))
        return queue.pen if queue is not None else None

    def close(self, func: Callable[..., Any] | int) -> None:
        """Ends the queue of this function (or of the function with this hash); calls that wait are dropped."""
        queue = self._queues.pop(func if isinstance(func, int) else hash(func), None)
        if queue is not None:
            queue.close()


def _function_deleted(queues: weakref.ref[FunctionQueues], key: int, queue: weakref.ref[FunctionQueue]) -> None:
    found, known = queue(), queues()
    if found is not None:
        if known is not None:
            known._forget(key, found)
        found.calls.stop()
