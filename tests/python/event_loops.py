"""Runs event loops in every way that callboard supports: asyncio, uvloop, trio, and one as the guest of another."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
import sniffio
import trio
import uvloop
from callboard.aio import pending
from callboard.aio.pending import Pending
from callboard.aio.tracker import PendingTracker
from callboard.aio.wakeups import current_library

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    Main = Callable[[], Coroutine[Any, Any, Any]]
    #: Runs an async function in an event loop.
    Run = Callable[[Callable[..., Any]], Any]


def run_asyncio(main: Main) -> Any:
    return asyncio.run(main())


def run_uvloop(main: Main) -> Any:
    return uvloop.run(main())


def run_trio(main: Main) -> Any:
    return trio.run(main)


def run_trio_in_asyncio(main: Main) -> Any:
    """trio as the guest of an asyncio loop."""
    return asyncio.run(trio_in_asyncio(main))


def run_asyncio_in_trio(main: Main) -> Any:
    """asyncio as the guest of a trio run."""
    return trio.run(asyncio_in_trio, main)


def run_trio_asyncio(main: Main) -> Any:
    """trio-asyncio: an asyncio loop that is made of trio's tasks."""
    import trio_asyncio

    async def host() -> Any:
        async with trio_asyncio.open_loop():
            return await trio_asyncio.aio_as_trio(main)()

    return trio.run(host)


async def trio_in_asyncio(main: Main) -> Any:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    trio.lowlevel.start_guest_run(
        main,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=ended.set_result,
        host_uses_signal_set_wakeup_fd=True,
    )
    return (await ended).unwrap()


async def asyncio_in_trio(main: Main) -> Any:
    loop = asyncio.SelectorEventLoop()
    task = loop.create_task(main())
    try:
        while not task.done():
            with _inside_asyncio():
                loop.call_soon(loop.stop)
                loop.run_forever()
            if not loop._ready and not task.done():
                # A thread waits, so that trio goes on; what it finds is found again by the loop.
                await trio.to_thread.run_sync(loop._selector.select, _time_left(loop))
        return task.result()
    finally:
        with _inside_asyncio():
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@contextlib.contextmanager
def _inside_asyncio() -> Iterator[None]:
    library, sniffio.thread_local.name = sniffio.thread_local.name, "asyncio"
    # trio-asyncio, once it is imported, would find no loop but its own where it sees a task of trio's.
    context = trio._core._run.GLOBAL_RUN_CONTEXT
    task = context.task
    del context.task
    try:
        yield
    finally:
        context.task = task
        sniffio.thread_local.name = library


def _time_left(loop: Any) -> float | None:
    while loop._scheduled and loop._scheduled[0]._cancelled:
        heapq.heappop(loop._scheduled)._scheduled = False
    return max(0, loop._scheduled[0].when() - loop.time()) if loop._scheduled else None


RUNNERS = {
    "asyncio": run_asyncio,
    "uvloop": run_uvloop,
    "trio": run_trio,
    "trio_in_asyncio": run_trio_in_asyncio,
    "asyncio_in_trio": run_asyncio_in_trio,
}
if os.environ.get("CALLBOARD_TEST_TRIO_ASYNCIO"):
    # In a process of its own, because it changes asyncio for all of it.
    RUNNERS = {"trio_asyncio": run_trio_asyncio}


#: On trio, asyncio is a guest with trio-asyncio only, which needs what Python 3.14 does not have.
needs_trio_asyncio = pytest.mark.skipif(find_spec("trio_asyncio") is None, reason="trio-asyncio is not installed")


def skip_without_guest(host: str, guest: str = "asyncio") -> None:
    """Skips the test if asyncio is to be the guest of trio, and there is no trio-asyncio."""
    if (host, guest) == ("trio", "asyncio") and find_spec("trio_asyncio") is None:
        pytest.skip("asyncio is a guest of trio with trio-asyncio only")


no_anyio = pytest.mark.skipif("trio_asyncio" in RUNNERS, reason="anyio does not know trio-asyncio")


async def sleep(seconds: float = 0) -> None:
    """Waits, in whichever event loop runs."""
    await (trio.sleep(seconds) if current_library() == "trio" else asyncio.sleep(seconds))


async def forever() -> None:
    """Waits for what never comes."""
    await Pending()


def cancelled_class() -> type[BaseException]:
    return trio.Cancelled if current_library() == "trio" else asyncio.CancelledError


@contextlib.asynccontextmanager
async def give_up_after(seconds: float) -> AsyncIterator[None]:
    """Cancels the block after so many seconds, without raising."""
    if current_library() == "trio":
        with trio.move_on_after(seconds):
            yield
    else:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                yield


class Calls:
    """Runs functions as tasks of the event loop it is made in, each with a Pending: a minimal Caller."""

    def __init__(self, start: Callable[..., Any], cancel: Callable[..., Any]) -> None:
        self._start = start
        self._cancel = cancel

    def __call__(self, func: Callable[..., Any], *args: Any) -> Pending[Any]:
        pen = Pending(None, PendingTracker, func=func)
        self._start(pen, func, args)
        return pen

    async def _run(self, pen: Pending[Any], handle: Any, func: Callable[..., Any], args: tuple) -> None:
        pen.set_canceller(lambda _: self._cancel(handle))
        if pen.done():
            return
        try:
            with pending.Running(pen):
                result = func(*args)
                pen.set_result(await result if hasattr(result, "__await__") else result)
        except Exception as error:  # noqa: BLE001 - it comes out of the pending
            pen.set_exception(error)
        finally:
            if not pen.done():
                pen.set_exception(RuntimeError("it was cancelled"))


@contextlib.asynccontextmanager
async def calls() -> AsyncIterator[Calls]:
    """Gives a :class:`Calls`; tasks that are still running at the end are cancelled."""
    if current_library() == "trio":
        token = trio.lowlevel.current_trio_token()

        def start(pen: Pending[Any], func: Callable[..., Any], args: tuple) -> None:
            async def run() -> None:
                with trio.CancelScope() as scope:
                    await made._run(pen, scope, func, args)

            pen.context.run(nursery.start_soon, run)

        async with trio.open_nursery() as nursery:
            made = Calls(start, lambda scope: token.run_sync_soon(scope.cancel))
            yield made
            nursery.cancel_scope.cancel()
    else:
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task] = set()

        def start(pen: Pending[Any], func: Callable[..., Any], args: tuple) -> None:
            async def run() -> None:
                with contextlib.suppress(asyncio.CancelledError):
                    await made._run(pen, asyncio.current_task(), func, args)

            tasks.add(loop.create_task(run(), context=pen.context))

        made = Calls(start, lambda task: loop.call_soon_threadsafe(task.cancel))
        yield made
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def all_of(*mains: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Runs several at the same time and returns what they return."""
    results: list[Any] = [None] * len(mains)

    async def one(at: int) -> None:
        results[at] = await mains[at]()

    if current_library() == "trio":
        async with trio.open_nursery() as nursery:
            for at in range(len(mains)):
                nursery.start_soon(one, at)
    else:
        async with asyncio.TaskGroup() as group:
            for at in range(len(mains)):
                group.create_task(one(at))
    return results
