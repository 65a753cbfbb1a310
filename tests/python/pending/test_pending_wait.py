"""Waits for a Pending in an event loop and in a thread without one; a call cannot wait for itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from callboard.aio.pending import Pending, PendingCancelled, ProtectedPending, Running, current_pending
from event_loops import RUNNERS, all_of, calls, forever, give_up_after, no_anyio, run_asyncio, sleep
from other_threads import PATIENCE, in_thread

if TYPE_CHECKING:
    from event_loops import Run


# -- waiting in an event loop --------------------------------------------------------------------------


def test_waits_for_a_thread(run: Run) -> None:
    async def main() -> None:
        pen = Pending()
        in_thread(pen.set_result, 1)
        assert await pen == 1
        pen = Pending()
        in_thread(pen.set_exception, ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            await pen
        pen = Pending()
        in_thread(pen.cancel, "why")
        with pytest.raises(PendingCancelled, match="why"):
            await pen.wait()
        pen = Pending()
        in_thread(pen.set_exception, ValueError("no"))
        assert await pen.wait(result=False) is None

    run(main)


def test_waits_for_another_task(run: Run) -> None:
    async def main() -> None:
        pen = Pending()

        async def set_result() -> None:
            await sleep(0)
            pen.set_result(1)

        async def wait() -> int:
            return await pen

        assert await all_of(wait, set_result, wait) == [1, None, 1]

    run(main)


def test_a_finished_pending_needs_no_event_loop() -> None:
    pen = Pending()
    pen.set_result(1)
    with pytest.raises(StopIteration) as stop:
        pen.wait().send(None)
    assert stop.value.value == 1
    with pytest.raises(RuntimeError, match="event loop"):
        Pending().wait().send(None)


def test_a_timeout_cancels_it_unless_it_is_protected(run: Run) -> None:
    async def main() -> None:
        pen = Pending()
        for timeout in 0, 0.01, -1:
            with pytest.raises(TimeoutError, match="not done after"):
                await pen.wait(timeout=timeout, protect=True)
        assert not pen.cancelled()
        with pytest.raises(TimeoutError):
            await pen.wait(timeout=0.01)
        assert pen.cancelled()
        pen = ProtectedPending()
        with pytest.raises(TimeoutError):
            await pen.wait(timeout=0.01)
        assert not pen.cancelled()
        with pytest.raises(ValueError, match="nan"):
            await pen.wait(timeout=float("nan"))
        in_thread(pen.set_result, 1)
        assert await pen.wait(timeout=float("inf")) == 1

    run(main)


def test_a_cancelled_wait_cancels_it_unless_it_is_protected(run: Run) -> None:
    async def main() -> None:
        pen = Pending()
        async with give_up_after(0.01):
            await pen.wait(protect=True)
        assert not pen.cancelled()
        async with give_up_after(0.01):
            await pen
        assert pen.cancelled()
        pen = ProtectedPending()
        async with give_up_after(0.01):
            await pen
        assert not pen.cancelled()

    run(main)


def test_a_shielded_wait_goes_on(run: Run) -> None:
    async def main() -> None:
        pen = Pending()
        threading.Timer(0.05, pen.set_result, (1,)).start()
        async with give_up_after(0.01):
            with contextlib.suppress(asyncio.CancelledError):
                assert await pen.wait(shield=True) == 1
        assert pen.result() == 1
        pen = Pending()
        async with give_up_after(0.01):
            with pytest.raises((TimeoutError, asyncio.CancelledError)):
                await pen.wait(shield=True, timeout=0.05)
        assert pen.cancelled()

    run(main)


def test_cancel_wait(run: Run) -> None:
    async def main() -> None:
        pen = Pending()
        pen.set_canceller(lambda _: in_thread(pen.set_result, None))
        await pen.cancel_wait("why")
        assert pen.done()
        with pytest.raises(PendingCancelled, match="why"):
            pen.result()
        await pen.cancel_wait()
        pen = Pending()
        pen.set_canceller(lambda _: None)
        with pytest.raises(TimeoutError):
            await pen.cancel_wait(timeout=0.01)

    run(main)


def test_a_task_that_is_cancelled_can_wait_again(run: Run) -> None:
    async def main() -> None:
        pen = Pending()
        for _ in range(100):
            async with give_up_after(0):
                await pen.wait(protect=True)
        pen.set_result(1)
        assert await pen == 1
        # None of the old wake-ups hits a later wait.
        with pytest.raises(TimeoutError):
            await Pending().wait(timeout=0.01)

    run(main)


@no_anyio
def test_anyio_scopes_cancel_and_shield(run: Run) -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            await (pen := Pending())
        assert scope.cancelled_caught
        assert pen.cancelled()
        pen = Pending()
        threading.Timer(0.05, pen.set_result, (1,)).start()
        with anyio.move_on_after(0.01) as scope:
            assert await pen.wait(shield=True) == 1
        assert not scope.cancelled_caught

    run(main)


# -- waiting in a thread -------------------------------------------------------------------------------


def test_a_thread_waits_without_an_event_loop() -> None:
    pen = Pending()
    in_thread(pen.set_result, 1)
    assert pen.wait_sync() == 1
    assert pen.wait_sync(result=False) is None
    pen = Pending()
    in_thread(pen.set_exception, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        pen.wait_sync(timeout=PATIENCE)
    pen = Pending()
    in_thread(pen.cancel)
    with pytest.raises(PendingCancelled):
        pen.wait_sync(timeout=float("inf"), shield=True)


def test_a_thread_waits_no_longer_than_the_timeout() -> None:
    pen = Pending()
    for timeout in 0, 0.01, -1:
        with pytest.raises(TimeoutError, match="not done after"):
            pen.wait_sync(timeout=timeout, protect=True)
    assert not pen.cancelled()
    with pytest.raises(ValueError, match="nan"):
        pen.wait_sync(timeout=float("nan"))
    with pytest.raises(TimeoutError):
        pen.wait_sync(timeout=0.01)
    assert pen.cancelled()
    pen = ProtectedPending()
    with pytest.raises(TimeoutError):
        pen.wait_sync(timeout=0.01)
    assert not pen.cancelled()


def test_sigint_ends_the_wait_of_the_main_thread() -> None:
    def wait() -> None:
        in_thread(os.kill, os.getpid(), signal.SIGINT)
        pen.wait_sync(timeout=PATIENCE)

    pen = Pending()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for _ in range(20):
            with pytest.raises(KeyboardInterrupt):
                wait()
    finally:
        signal.signal(signal.SIGINT, before)
    assert not pen.cancelled()
    in_thread(pen.set_result, 1)
    assert pen.wait_sync() == 1


def test_many_wait_for_one() -> None:
    pen = Pending()

    async def wait() -> int:
        return await pen

    async def main() -> list[int]:
        return await all_of(*[wait] * 20)

    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(run, main) for run in RUNNERS.values()]
        waiting += [pool.submit(pen.wait_sync) for _ in range(10)]
        in_thread(pen.set_result, 1)
        assert [future.result(PATIENCE) for future in waiting] == [[1] * 20] * len(RUNNERS) + [1] * 10


# -- waiting for oneself -------------------------------------------------------------------------------


def test_a_call_cannot_wait_for_itself(run: Run) -> None:
    async def wait() -> None:
        await current_pending.get()

    async def wait_with_help() -> int:
        # No deadlock: a helper waits, and the call goes on.
        async def helper() -> None:
            await pen.wait(result=False)
            ended.set_result(2)

        pen, ended = current_pending.get(), Pending()
        helpers.append(helper_task(helper))
        return 1

    helpers: list[Pending] = []

    async def main() -> None:
        nonlocal helper_task
        async with calls() as call_soon:
            helper_task = call_soon
            with pytest.raises(RuntimeError, match="own end"):
                await call_soon(wait)
            assert await call_soon(wait_with_help) == 1
            await helpers[0]
            # A wait that will be cancelled anyway is no deadlock.
            started = Pending()

            async def give_up() -> None:
                pen = current_pending.get()
                started.set_result(pen)
                await pen.cancel_wait("enough")

            pen = call_soon(give_up)
            await pen.wait(result=False)
            with pytest.raises(PendingCancelled, match="enough"):
                pen.result()

    helper_task: Any = None
    run(main)


def test_a_task_of_a_call_may_wait_for_the_call() -> None:
    async def main() -> None:
        tasks = []

        async def wait(pen: Pending) -> None:
            assert current_pending.get() is pen
            await pen

        async def start_task() -> int:
            tasks.append(asyncio.create_task(wait(current_pending.get())))
            await asyncio.sleep(0.01)
            return 1

        async with calls() as call_soon:
            assert await call_soon(start_task) == 1
            await tasks[0]

    run_asyncio(main)


def test_a_thread_cannot_block_for_what_it_has_to_run_itself() -> None:
    async def main() -> None:
        async with calls() as call_soon:
            pen = call_soon(forever)
            await sleep(0.01)
            with pytest.raises(RuntimeError, match="this thread has to run"):
                pen.wait_sync()
            # Another thread may wait.
            assert not await asyncio.to_thread(pen._wait, 0.01)
            await asyncio.gather(asyncio.to_thread(pen.wait_sync, result=False), pen.cancel_wait())

    run_asyncio(main)
    # A call that has not begun is found through its Caller.
    pen = Pending(caller=SimpleNamespace(thread=threading.current_thread()))
    with pytest.raises(RuntimeError, match="this thread has to run"):
        pen.wait_sync()
    with pytest.raises(TimeoutError):
        Pending(caller=SimpleNamespace(thread=threading.Thread())).wait_sync(timeout=0.01)


def test_running_says_whose_call_it_is() -> None:
    outer, inner = Pending(), Pending()
    with Running(outer):
        with Running(inner):
            assert current_pending.get() is inner
        assert current_pending.get() is outer
    assert current_pending.get() is None
