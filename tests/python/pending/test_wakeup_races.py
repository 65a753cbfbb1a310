"""No wake-up is lost when completions, cancellations and waits race."""

from __future__ import annotations

import contextlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from callboard.aio.pending import Pending, PendingCancelled
from event_loops import RUNNERS, all_of, cancelled_class, give_up_after
from other_threads import PATIENCE, InThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from event_loops import Run


def each_kind() -> Iterator[Callable[[Any], None]]:
    """Eight threads: each kind of event loop, and threads without one."""

    def in_loop(run: Any) -> Callable[[Any], None]:
        def serve(steps: Any) -> None:
            async def main() -> None:
                for pen, then in steps:
                    then(await pen)

            run(main)

        return serve

    def blocking(steps: Any) -> None:
        for pen, then in steps:
            then(pen.wait_sync())

    for run in RUNNERS.values():
        yield in_loop(run)
    for _ in range(3):
        yield blocking


def test_a_ring_of_eight_threads_turns_20_000_times() -> None:
    # Each waits for the one before it and then wakes the one after it. One lost wake-up, and it stands still.
    hops = 20_000
    pens = [Pending() for _ in range(hops + 1)]
    kinds = list(each_kind())

    def steps(me: int) -> Iterator[tuple[Pending, Callable[[int], None]]]:
        for n in range(me, hops, len(kinds)):
            yield pens[n], lambda value, n=n: pens[n + 1].set_result(value + 1)

    with contextlib.ExitStack() as stack:
        for me, serve in enumerate(kinds):
            stack.enter_context(InThread(serve, steps(me)))
        pens[0].set_result(0)
    assert pens[-1].result() == hops


def test_no_wake_up_of_5_000_is_lost_among_eight_threads() -> None:
    # All wait for all, in an order of their own, while two threads complete and cancel.
    rounds = 5_000
    pens = [Pending() for _ in range(rounds)]
    ends = [0] * rounds

    # The two are never further ahead of any of the others, so that many are open when they are waited for.
    ahead = [threading.Semaphore(20) for _ in range(len(RUNNERS) + 1)]

    def order() -> list[int]:
        return sorted(range(rounds), key=lambda n: n + random.uniform(0, 6))

    async def wait(n: int) -> None:
        pen = pens[n]
        if n % 7 == 0:
            # A wait that is given up, perhaps just as it ends.
            with contextlib.suppress(TimeoutError, PendingCancelled):
                await pen.wait(timeout=random.choice([0, 1e-4]), protect=True)
        assert await pen.wait(result=False) is None
        check(n)

    def check(n: int) -> None:
        if n % 5 == 0:
            assert pens[n].cancelled()
        else:
            assert pens[n].result() == n

    def in_loop(run: Any, mine: threading.Semaphore) -> None:
        async def main() -> None:
            numbers = iter(order())

            async def some() -> None:
                for n in numbers:
                    await wait(n)
                    mine.release()

            await all_of(*[some] * 4)

        run(main)

    def blocking(mine: threading.Semaphore) -> None:
        for n in order():
            pens[n].wait_sync(result=False)
            check(n)
            mine.release()

    def complete(numbers: Iterator[int]) -> None:
        for n in numbers:
            pens[n].add_done_callback(lambda _, n=n: ends.__setitem__(n, ends[n] + 1))
            if n % 5 == 0:
                pens[n].cancel()
            pens[n].set_result(n)

    numbers = iter(order())
    lock = threading.Lock()

    def shared() -> Iterator[int]:
        while True:
            with lock:
                for other in ahead:
                    assert other.acquire(timeout=PATIENCE)
                n = next(numbers, None)
            if n is None:
                return
            yield n

    with contextlib.ExitStack() as stack:
        for run, mine in zip(RUNNERS.values(), ahead, strict=False):
            stack.enter_context(InThread(in_loop, run, mine))
        stack.enter_context(InThread(blocking, ahead[-1]))
        for _ in range(2):
            stack.enter_context(InThread(complete, shared()))
    assert ends == [1] * rounds


def test_cancellations_and_completions_that_cross_lose_nothing(run: Run) -> None:
    # The wait is cancelled at about the time at which a thread completes the pending.
    rounds = 1_000
    queue: list[Pending] = []
    go = threading.Semaphore(0)

    def complete() -> None:
        for n in range(rounds):
            assert go.acquire(timeout=PATIENCE)
            queue[n].set_result(n)

    async def main() -> None:
        for n in range(rounds):
            queue.append(Pending())
            go.release()
            async with give_up_after(random.choice([0, 1e-5, 1e-4, 1])):
                try:
                    assert await queue[n].wait(protect=True) == n
                except cancelled_class():
                    raise
            assert await queue[n] == n

    with InThread(complete):
        run(main)


def test_set_canceller_and_cancel_that_cross_lose_nothing() -> None:
    # Either the canceller is asked, or it is set too late and finds that all is over.
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2_000):
            pen = Pending()
            asked: list[str | None] = []

            def carry_out(msg: str | None, pen: Pending = pen, asked: list = asked) -> None:
                asked.append(msg)
                pen.set_exception(RuntimeError())

            setting = pool.submit(pen.set_canceller, carry_out)
            cancelling = pool.submit(pen.cancel, "now")
            setting.result(PATIENCE)
            cancelling.result(PATIENCE)
            assert pen.done()
            assert pen.cancelled()
            assert set(asked) <= {"now"}
