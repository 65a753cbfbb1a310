"""Waits for several awaitables at once, which run in a Caller."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from .pending import Pending, current_pending
from .queue import SingleAsyncQueue

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Iterable

    from .scheduler import Scheduler

_END: Any = object()
_LEFT = "as_completed was left"


async def as_completed(
    scheduler: Scheduler, items: Any, max_concurrent: int, cancel_unfinished: bool
) -> AsyncGenerator[Pending[Any], None]:
    """Yields each item as a `Pending` that is done, in the order in which they become so: see `Caller.as_completed`."""
    done: SingleAsyncQueue[Pending[Any]] = SingleAsyncQueue()
    #: Gets an entry for each item that has been yielded.
    room: SingleAsyncQueue[None] = SingleAsyncQueue()
    unfinished: set[Pending[Any]] = set()
    myself = current_pending.get()
    feeder: Pending[None] | None = None

    def add(item: Awaitable[Any]) -> None:
        pen = _as_pending(scheduler, item, myself)
        unfinished.add(pen)
        pen.add_done_callback(done.append)
        if done.stopped and cancel_unfinished:
            pen.cancel(_LEFT)

    async def feed(limit: int) -> None:
        get = _getter(items)
        while not done.stopped and (item := await get()) is not _END:
            add(item)
            while limit and len(unfinished) >= limit and not done.stopped:
                await anext(room, None)

    try:
        if isinstance(items, (set, list, tuple)):
            _refuse_myself(items, myself)
            for item in items:
                add(item)
        else:
            feeder = scheduler.call_soon(feed, max(0, int(max_concurrent)))
            # Wakes the loop below when no item is left.
            feeder.add_done_callback(done.append)
        while unfinished or (feeder is not None and not feeder.done()) or len(done):
            pen = await anext(done)
            if pen is not feeder:
                unfinished.discard(pen)
                room.append(None)
                yield pen
        if feeder is not None:
            feeder.result()
    finally:
        done.stop()
        room.stop()
        for pen in list(unfinished):
            pen.remove_done_callback(done.append)
            if cancel_unfinished:
                pen.cancel(_LEFT)
        if feeder is not None:
            await feeder.cancel_wait(_LEFT, shield=True)


async def wait(
    scheduler: Scheduler, items: Iterable[Awaitable[Any]], shield: bool, timeout: float | None, return_when: str
) -> tuple[set[Pending[Any]], set[Pending[Any]]]:
    """Waits as `asyncio.wait` does: see `Caller.wait`."""
    if return_when not in ("FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"):
        msg = f"return_when is FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED, not {return_when!r}"
        raise ValueError(msg)
    items = list(items)
    myself = current_pending.get()
    _refuse_myself(items, myself)
    pens = {_as_pending(scheduler, item, myself) for item in items}
    enough: Pending[None] = Pending()
    left = pens.copy()

    def one_done(pen: Pending[Any]) -> None:
        left.discard(pen)
        failed = pen.cancelled() or pen.exception() is not None
        if not left or return_when == "FIRST_COMPLETED" or (return_when == "FIRST_EXCEPTION" and failed):
            enough.set_result(None)

    for pen in pens:
        pen.add_done_callback(one_done)
    try:
        if pens:
            await enough.wait(timeout=timeout, result=False, shield=shield)
    except TimeoutError:
        pass
    finally:
        for pen in pens:
            pen.remove_done_callback(one_done)
    done = {pen for pen in pens if pen.done()}
    return done, pens - done


def _as_pending(scheduler: Scheduler, item: Awaitable[Any], myself: Pending[Any] | None) -> Pending[Any]:
    if isinstance(item, Pending):
        _refuse_myself((item,), myself)
        return item
    if not inspect.isawaitable(item):
        msg = f"{item!r} cannot be awaited: give a Pending, a coroutine or another awaitable"
        raise TypeError(msg)
    return scheduler.call_soon(_await, item)


def _refuse_myself(items: Iterable[Any], myself: Pending[Any] | None) -> None:
    if myself is not None and any(item is myself for item in items):
        msg = "this call would wait for its own end, a deadlock: leave its Pending out of the items"
        raise RuntimeError(msg)


async def _await(item: Awaitable[Any]) -> Any:
    return await item


def _getter(items: Any) -> Any:
    """Returns a function that returns the next item, or _END."""
    if hasattr(items, "__aiter__"):
        each = aiter(items)
        return lambda: anext(each, _END)
    each = iter(items)

    async def get() -> Any:
        return next(each, _END)

    return get
