"""Waits for many Pendings at once: `as_completed`, `wait` and groups."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import pytest
from callboard import Caller, Pending, PendingCancelled
from caller_tools import PATIENCE, library, number, run
from event_loops import forever, skip_without_guest, sleep


def test_as_completed(loop: str) -> None:
    async def main() -> None:
        caller = Caller()
        slow, fast = Pending(), Pending()
        fast.set_result("fast")
        seen = []
        async for pen in caller.as_completed([slow, fast, caller.call_soon(lambda: 1)]):
            assert pen.done()
            seen.append(pen)
            slow.set_result("slow") if len(seen) == 2 else None
        assert seen[2] is slow
        assert {pen.result() for pen in seen} == {"slow", "fast", 1}
        for items in ([], (), set(), iter(()), (n for n in ())):
            assert [pen async for pen in caller.as_completed(items)] == []
        for items in ([number(n) for n in range(5)], {number(n) for n in range(5)}, (number(n) for n in range(5))):
            assert {pen.result() async for pen in caller.as_completed(items)} == set(range(5))

        async def generator() -> Any:
            for n in range(20):
                await sleep()
                yield number(n)

        assert {pen.result() async for pen in caller.as_completed(generator())} == set(range(20))
        with pytest.raises(TypeError, match="3 cannot be awaited"):
            async for _ in caller.as_completed([3]):  # type: ignore[list-item]
                pass

    run(loop, main)


def test_as_completed_limits_a_generator(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished: set[Pending] = set()
    most = [0]

    async def main() -> None:
        caller = Caller()

        def items(n: int) -> Any:
            for _ in range(n):
                pen = caller.to_thread(time.sleep, 0.0001)
                unfinished.add(pen)
                most[0] = max(most[0], len(unfinished))
                yield pen

        async def async_items(n: int) -> Any:
            for pen in items(n):
                yield pen

        async def count(items: Any, **options: Any) -> tuple[int, int]:
            most[0] = count = 0
            async for pen in caller.as_completed(items, **options):
                unfinished.discard(pen)
                count += 1
            assert not unfinished
            return count, most[0]

        assert await count(items(20), max_concurrent=3) == (20, 3)
        assert await count(async_items(20), max_concurrent=3) == (20, 3)
        assert await count(items(20), max_concurrent=1) == (20, 1)
        monkeypatch.setattr(Caller, "MAX_IDLE_POOL_INSTANCES", 2)
        assert await count(items(20)) == (20, 2)
        assert (await count(items(20), max_concurrent=0))[0] == 20
        assert most[0] > 3
        # A list is not limited: its items exist already.
        assert (await count(list(items(5)), max_concurrent=1))[0] == 5

    run(loop, main)


def test_as_completed_cancels_what_is_unfinished(loop: str) -> None:
    async def main() -> None:
        caller = Caller()
        for cancels in (True, False):
            for kind in (list, iter):
                pens = [Pending(), *(caller.to_thread(forever) for _ in range(3))]
                pens[0].set_result(None)
                found = caller.as_completed(kind(pens), cancel_unfinished=cancels, max_concurrent=0)
                async with contextlib.aclosing(found):
                    async for pen in found:
                        assert pen is pens[0]
                        break
                for pen in pens[1:]:
                    assert pen.cancelled() == cancels
                    pen.cancel()
                    await pen.wait(result=False)

    run(loop, main)


def test_as_completed_and_errors(loop: str) -> None:
    async def main() -> None:
        caller = Caller()

        def items() -> Any:
            yield caller.call_soon(lambda: 1)
            raise ZeroDivisionError

        seen = []
        with pytest.raises(ZeroDivisionError):
            async for pen in caller.as_completed(items()):
                seen.append(pen.result())
        assert seen == [1]
        failed = 0
        async for pen in caller.as_completed(caller.to_thread(lambda: 1 / 0) for _ in range(6)):
            with pytest.raises(ZeroDivisionError):
                await pen
            failed += 1
        assert failed == 6

    run(loop, main)


def test_as_completed_of_another_thread_s_caller(loop: str, backend: str) -> None:
    async def main() -> None:
        async with Caller("NewThread", backend=backend) as caller:

            def items() -> Any:
                assert threading.get_ident() == caller.id
                for n in range(10):
                    yield number(n)

            assert {pen.result() async for pen in caller.as_completed(items())} == set(range(10))

    run(loop, main)


@pytest.mark.parametrize("return_when", ["FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"])
@pytest.mark.parametrize("when", ["done", "soon"])
def test_wait(loop: str, return_when: Any, when: str) -> None:
    async def main() -> None:
        caller = Caller()
        pens = [Pending() for _ in range(4)]
        ends = {"FIRST_COMPLETED": 1, "FIRST_EXCEPTION": 2, "ALL_COMPLETED": 4}[return_when]

        def end() -> None:
            for n, pen in enumerate(pens[:ends]):
                pen.set_result(None) if n != 1 else pen.set_exception(ValueError())

        end() if when == "done" else caller.call_later(0.005, end)
        done, pending = await caller.wait(pens, return_when=return_when)
        assert done == set(pens[:ends])
        assert pending == set(pens[ends:])
        cancelled = Pending()
        cancelled.cancel()
        done, pending = await caller.wait([Pending(), cancelled], return_when="FIRST_EXCEPTION")
        assert done == {cancelled}

    run(loop, main)


def test_wait_with_timeouts_errors_and_shield(loop: str) -> None:
    async def main() -> None:
        caller = Caller()
        assert await caller.wait([]) == (set(), set())
        done, _pending = await caller.wait((number(1), caller.to_thread(number, 2), caller.call_soon(number, 3)))
        assert {pen.result() for pen in done} == {1, 2, 3}
        pens = {Pending(), Pending()}
        assert await caller.wait(pens, timeout=0.001) == (set(), pens)
        assert await caller.wait(pens, timeout=0) == (set(), pens)
        assert not any(pen.cancelled() for pen in pens)
        with pytest.raises(ValueError, match="return_when"):
            await caller.wait(pens, return_when="SOON")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="cannot be awaited"):
            await caller.wait([1])  # type: ignore[list-item]
        # A wait that is cancelled leaves alone what it waited for.
        waiting = caller.call_soon(caller.wait, pens)
        await sleep(0.001)
        await waiting.cancel_wait()
        assert not any(pen.cancelled() for pen in pens)
        # With shield the wait goes on.
        waiting = caller.call_soon(caller.wait, pens, shield=True)
        await sleep(0.001)
        waiting.cancel()
        await sleep(0.001)
        assert not waiting.done()
        for pen in pens:
            pen.set_result(None)
        await waiting.wait(result=False)

    run(loop, main)


def test_groups(loop: str) -> None:
    skip_without_guest(loop)

    async def main() -> None:
        caller = Caller()
        other = "asyncio" if library() == "trio" else "trio"
        counted = threading.Event()

        def in_thread() -> int:
            counted.wait(PATIENCE)
            return 3

        async with caller.create_pending_group() as group:
            pens = {
                caller.call_soon(number, 1, 0.005),
                caller.call_later(0.001, lambda: 2),
                caller.to_thread(in_thread),
                caller.call_using_backend(other, number, 4, 0.001),
                group.caller.call_soon(lambda: 5),
            }
            assert group.caller is caller
            assert pens == group.pending
            counted.set()
            items = caller.as_completed(caller.call_soon(number, n) for n in (6, 7))
            assert {pen.result() async for pen in items} == {6, 7}
        assert {pen.result() for pen in pens} == {1, 2, 3, 4, 5}
        with pytest.raises(BaseExceptionGroup):
            async with caller.create_pending_group(mode=1):
                waiting = caller.to_thread(forever)
                caller.call_soon(lambda: 1 / 0)
        assert waiting.cancelled()
        with pytest.raises(PendingCancelled):
            async with caller.create_pending_group(mode=3, timeout=0.01):
                await sleep(1000)

    run(loop, main)
