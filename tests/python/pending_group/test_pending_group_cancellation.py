"""Cancels groups: by a member, from another thread, from outside, at a timeout."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
from callboard.aio.group import PendingGroup
from callboard.aio.pending import Pending, PendingCancelled
from callboard.aio.wakeups import current_library
from event_loops import Calls, all_of, calls, cancelled_class, forever, give_up_after, no_anyio, sleep
from group_tools import FOLLOWS, MODES, RAISES, ends, fail, raised

if TYPE_CHECKING:
    from event_loops import Run


@MODES
def test_a_cancelled_member(run: Run, mode: int) -> None:
    async def main(call_soon: Calls) -> None:
        gone_on = False
        with ends(mode if mode in FOLLOWS else 0):
            async with PendingGroup(mode=mode) as group:
                one = call_soon(forever)
                other = call_soon(sleep, 0.001)
                one.cancel("enough")
                # It has not begun: nothing needs to be cancelled.
                assert one.done()
                assert group.cancelled() == (mode in FOLLOWS)
                await (forever() if mode in FOLLOWS else other)
                gone_on = True
        assert gone_on == (mode not in FOLLOWS)
        assert group.cancelled() == other.cancelled() == (mode in FOLLOWS)

    run(main)


@MODES
def test_a_cancelled_group(run: Run, mode: int) -> None:
    async def main(call_soon: Calls) -> None:
        with ends(mode):
            async with PendingGroup(mode=mode) as group:
                pen = call_soon(forever)
                assert group.cancel("one") is True
                assert group.cancelled()
                group.cancel()
                group.cancel("two")
                await forever()
        assert pen.cancelled()
        assert pen.done()
        if mode in RAISES:
            with pytest.raises(PendingCancelled, match=r"^one\ntwo$"):
                async with PendingGroup(mode=mode) as group:
                    # Nothing waits here; a later wait is not cancelled.
                    group.cancel("one")
                    group.cancel("two")

    run(main)


def test_it_is_cancelled_from_another_thread(run: Run) -> None:
    async def main(call_soon: Calls) -> None:
        for _ in range(50):
            async with PendingGroup() as group:
                call_soon(forever)
                threading.Thread(target=group.cancel).start()
                await forever()

    run(main)


def test_cancelled_before_it_was_entered(run: Run) -> None:
    async def main(_: Calls) -> None:
        group = PendingGroup()
        group.cancel()
        async with group:
            await forever()

    run(main)


@MODES
def test_a_timeout(run: Run, mode: int) -> None:
    async def main(call_soon: Calls) -> None:
        for body in (sleep, 0), (forever,):
            with ends(mode):
                async with PendingGroup(mode=mode, timeout=0.01) as group:
                    pen = call_soon(forever)
                    await body[0](*body[1:])
            assert group.cancelled()
            assert pen.cancelled()
        async with PendingGroup(mode=mode, timeout=60):
            pass

    run(main)


@MODES
def test_a_cancellation_from_outside_goes_through(run: Run, mode: int) -> None:
    async def main(call_soon: Calls) -> None:
        for body in (sleep, 0), (forever,):
            through = False
            async with give_up_after(0.01):
                try:
                    async with PendingGroup(mode=mode) as group:
                        pen = call_soon(forever)
                        await body[0](*body[1:])
                except cancelled_class():
                    through = True
                    raise
            assert through
            assert group.cancelled()
            assert pen.cancelled()
            assert pen.done()

    run(main)


def test_the_end_waits_for_slow_cleanup(run: Run) -> None:
    async def main(call_soon: Calls) -> None:
        cleaned = []

        async def slow(started: Pending) -> None:
            started.set_result(None)
            try:
                await forever()
            finally:
                pen = Pending()
                threading.Timer(0.02, pen.set_result, (1,)).start()
                # Shielded: a cancellation of the task does not stop it.
                await pen.wait(shield=True)
                cleaned.append(1)

        async def start() -> None:
            started = Pending()
            call_soon(slow, started)
            await started

        async with PendingGroup() as group:
            await start()
            group.cancel()
        assert cleaned == [1]
        with pytest.raises(KeyError):
            async with PendingGroup():
                await start()
                raise KeyError
        assert cleaned == [1, 1]
        async with give_up_after(0.2), PendingGroup():
            await start()
        assert cleaned == [1, 1, 1]

    run(main)


def test_the_end_gives_up_after_a_while(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main(_: Calls) -> None:
        async with PendingGroup() as group:
            group.cancellation_timeout = 0.01
            pen = Pending(None, PendingGroup)
            pen.set_canceller(lambda _: None)
            group.cancel()
        assert group.pending == {pen}
        assert "left behind" in caplog.text

    run(main)


def test_a_canceller_that_fails_does_not_save_the_others(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main(_: Calls) -> None:
        async with PendingGroup() as group:
            group.cancellation_timeout = 0.01
            pens = [Pending(None, PendingGroup) for _ in range(5)]
            pens[2].set_canceller(lambda _: 1 / 0)
            group.cancel()
        assert all(pen.cancelled() for pen in pens)
        assert "cannot be cancelled" in caplog.text

    run(main)


@MODES
def test_the_outer_group_is_cancelled(run: Run, mode: int) -> None:
    async def main(call_soon: Calls) -> None:
        with ends(mode):
            async with PendingGroup(mode=mode) as outer:
                async with PendingGroup() as inner:
                    pen = call_soon(forever)
                    outer.cancel()
                    await forever()
                pytest.fail("it goes on")
        assert inner.cancelled()
        assert pen.done()

    run(main)


def test_the_inner_group_is_cancelled(run: Run) -> None:
    async def main(call_soon: Calls) -> None:
        async with PendingGroup() as outer:
            async with PendingGroup() as inner:
                call_soon(forever)
                inner.cancel()
                await forever()
            await sleep(0.001)
        assert not outer.cancelled()

    run(main)


def test_a_shield_against_trio(run: Run) -> None:
    async def main(call_soon: Calls) -> None:
        if current_library() != "trio":
            return
        with trio.move_on_after(0.01) as scope:
            async with PendingGroup(shield=True) as group:
                pen = call_soon(sleep, 0.03)
                await trio.sleep(0.02)
        assert not pen.cancelled()
        assert not group.cancelled()
        assert not scope.cancelled_caught

    run(main)


@no_anyio
def test_scopes_of_anyio(run: Run) -> None:
    # They cancel a task of asyncio at each of its waits.
    anyio = pytest.importorskip("anyio")

    async def main(call_soon: Calls) -> None:
        with anyio.move_on_after(0.01) as scope:
            async with PendingGroup() as group:
                pen = call_soon(forever)
        assert scope.cancelled_caught
        assert group.cancelled()
        assert pen.done()

        with anyio.move_on_after(0.01):
            async with PendingGroup(shield=True) as group:
                pen = call_soon(anyio.sleep, 0.03)
                await anyio.sleep(0.02)
        assert not pen.cancelled()

        async with PendingGroup(shield=True) as group:
            call_soon(forever)
            group.cancel()
            await anyio.sleep_forever()

        with anyio.move_on_after(0.01):
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                async with PendingGroup(shield=True):
                    assert await call_soon(lambda: 1) == 1
                raise

    run(main)


def test_a_task_that_is_cancelled_by_hand() -> None:
    async def main() -> None:
        async with calls() as call_soon:
            pens: list[Pending] = []

            async def body(cancel_group: bool) -> None:
                async with PendingGroup() as group:
                    pens.append(call_soon(forever))
                    if cancel_group:
                        # Both at the same time: one of them ends in the group, the other does not.
                        group.cancel()
                        asyncio.get_running_loop().call_soon(task.cancel)
                    await forever()

            for cancel_group in False, True:
                task = asyncio.create_task(body(cancel_group))
                await asyncio.sleep(0.005)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert all(pen.done() for pen in pens)

    asyncio.run(main())


def test_a_group_inside_of_calls(run: Run) -> None:
    # Each call has its own task and a group of its own; the group around them all fails.
    async def main(call_soon: Calls) -> None:
        async def member(n: int) -> None:
            async with PendingGroup() as group:
                groups.append(group)
                call_soon(forever)
                if n == 3:
                    await sleep(0.005)
                    fail("three")
                await forever()

        groups: list[PendingGroup] = []
        with pytest.raises(ExceptionGroup) as caught:
            async with PendingGroup():
                pens = [call_soon(member, n) for n in range(5)]
        assert raised(caught.value) == ["three"]
        assert [pen.cancelled() for pen in pens] == [True, True, True, False, True]
        assert all(group.cancelled() for group in groups)
        assert all(pen.done() for pen in pens)

    run(main)


def test_groups_in_many_tasks_at_once(run: Run) -> None:
    async def main(call_soon: Calls) -> None:
        async def one() -> None:
            for n in range(20):
                try:
                    async with PendingGroup(mode=n % 4, timeout=0.001 if n % 5 == 0 else None) as group:
                        for _ in range(3):
                            call_soon(sleep, 0)
                        if n % 3 == 0:
                            call_soon(fail)
                        if n % 7 == 0:
                            threading.Thread(target=group.cancel).start()
                        await sleep(0.001)
                except (ExceptionGroup, PendingCancelled):
                    pass
                assert group.pending == set()

        def in_own_context() -> Any:
            return contextvars.copy_context().run(one)

        await all_of(*[in_own_context] * 20)

    run(main)


def test_the_scope_needs_a_task() -> None:
    async def main() -> None:
        failed = asyncio.get_running_loop().create_future()

        def callback() -> None:
            with pytest.raises(RuntimeError, match="in a task"):
                PendingGroup().__aenter__().send(None)
            failed.set_result(None)

        asyncio.get_running_loop().call_soon(callback)
        await failed

    asyncio.run(main())
    assert PendingGroup.current() is None
