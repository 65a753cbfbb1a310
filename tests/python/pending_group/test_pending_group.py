"""Groups of pendings that end together."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from callboard.aio import pending
from callboard.aio.pending import Pending, PendingCancelled, PendingGroup, PendingManager, PendingTracker
from callboard.aio.wakeups import current_library
from event_loops import RUNNERS, Calls, all_of, calls, cancelled_class, forever, give_up_after, no_anyio, sleep

if TYPE_CHECKING:
    from collections.abc import Callable

Run = "Callable[[Callable[[], Any]], Any]"

MODES = pytest.mark.parametrize("mode", range(4))

#: Modes in which a cancelled group raises, and in which a cancelled member cancels the group.
RAISES, FOLLOWS = (1, 3), (1, 2)


@pytest.fixture(params=RUNNERS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs an async function that gets a :class:`Calls`. Nothing of a group may be left in the task afterwards."""

    def run(main: Callable[[Calls], Any]) -> None:
        async def around() -> None:
            async with calls() as call_soon:
                await main(call_soon)
            if current_library() == "asyncio":
                assert asyncio.current_task().cancelling() == 0
            await sleep(0)
            await sleep(0.001)
            assert PendingGroup.current() is None

        RUNNERS[request.param](around)

    return run


def fail(text: str = "no") -> None:
    raise ValueError(text)


async def fail_soon(text: str = "no") -> None:
    await sleep(0.005)
    fail(text)


def raised(group: BaseExceptionGroup) -> list[str]:
    return [str(error) for error in group.exceptions]


@contextlib.contextmanager
def ends(mode: int) -> Any:
    """How a group ends that was cancelled."""
    with pytest.raises(PendingCancelled) if mode in RAISES else contextlib.nullcontext():
        yield


# -- what belongs to it -------------------------------------------------------------------------------------


def test_it_waits_for_what_was_made_in_it(run: Run) -> None:
    async def main(call_soon: Calls) -> None:
        async def tree(depth: int) -> int:
            await sleep(0.001)
            if depth:
                made.append(call_soon(tree, depth - 1))
            return depth

        made: list[Pending] = []
        assert PendingGroup.current() is None
        async with PendingGroup() as group:
            assert PendingGroup.current() is group
            made.append(call_soon(tree, 3))
            assert group.pending == set(made)
        assert [pen.result() for pen in made] == [3, 2, 1, 0]
        assert group.pending == set()
        assert not group.cancelled()
        assert PendingGroup.current() is None

    run(main)


def test_it_tracks_what_asks_for_it(run: Run) -> None:
    class Manager(PendingManager):
        pass

    async def main(_: Calls) -> None:
        manager = Manager()
        async with PendingGroup() as group:
            with manager.context():
                both = Pending(None, PendingTracker)
                one = Pending(None, PendingGroup)
                other = Pending(None, Manager)
                none = Pending()
            assert group.pending == {both, one}
            assert manager.pending == {both, other}
            assert other.context.run(PendingGroup.current) is None
            group.add(none)
            group.add(none)
            assert group.pending == {both, one, none}
            for pen in both, one, none, other:
                pen.set_result(1)

    run(main)


def test_a_group_in_a_group_shares_its_pendings(run: Run) -> None:
    async def main(call_soon: Calls) -> None:
        async with PendingGroup() as outer, PendingGroup() as inner:
            pen = call_soon(sleep, 0.001)
            assert pen in outer.pending
            assert pen in inner.pending

    run(main)


def test_what_is_completed_by_a_thread_ends_the_wait(run: Run) -> None:
    async def main(_: Calls) -> None:
        for _ in range(100):
            async with PendingGroup():
                pens = [Pending(None, PendingGroup) for _ in range(3)]
                threading.Thread(target=lambda pens=pens: [pen.set_result(1) for pen in pens]).start()
            assert all(pen.done() for pen in pens)

    run(main)


def test_it_can_be_used_once(run: Run) -> None:
    async def main(_: Calls) -> None:
        async with PendingGroup() as group:
            with pytest.raises(RuntimeError, match="used once"):
                async with group:
                    pass
        with pytest.raises(RuntimeError, match="used once"):
            async with group:
                pass

    run(main)


def test_it_says_what_it_is(run: Run) -> None:
    async def main(_: Calls) -> None:
        async with PendingGroup(mode=2) as group:
            pen = Pending(None, PendingGroup)
            assert repr(group).startswith("<PendingGroup mode=2 pending=1 at ")
            pen.set_result(1)
            group.cancel()
            assert repr(group).startswith("<PendingGroup cancelled mode=2 pending=0 at ")

    run(main)
    with pytest.raises(ValueError, match="mode"):
        PendingGroup(mode=4)


def test_it_knows_the_caller_of_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("callboard.callers.caller")
    module.Caller = lambda: SimpleNamespace(thread=threading.get_ident())
    module.Caller.get_existing = {}.get
    monkeypatch.setitem(__import__("sys").modules, "callboard.callers.caller", module)
    group = PendingGroup()
    assert group.caller is group.caller
    assert group.caller.thread == threading.get_ident()

    async def elsewhere() -> None:
        group = PendingGroup()
        with pytest.raises(RuntimeError, match="no Caller"):
            await asyncio.to_thread(lambda: group.caller)

    asyncio.run(elsewhere())


# -- errors -------------------------------------------------------------------------------------------------


@MODES
def test_a_failure_cancels_the_others_and_the_body(run: Run, mode: int) -> None:
    async def main(call_soon: Calls) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with PendingGroup(mode=mode) as group:
                other = call_soon(forever)
                call_soon(fail_soon)
                with pytest.raises(cancelled_class()) as stopped:
                    await forever()
                raise stopped.value
        assert raised(caught.value) == ["no"]
        assert type(caught.value.exceptions[0]) is ValueError
        assert group.cancelled()
        assert other.cancelled()
        assert other.done()

    run(main)


def test_a_failure_while_the_end_waits(run: Run) -> None:
    async def main(call_soon: Calls) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with PendingGroup():
                other = call_soon(forever)
                call_soon(fail_soon)
        assert raised(caught.value) == ["no"]
        assert other.done()

    run(main)


def test_several_failures_come_out_together(run: Run) -> None:
    async def main(_: Calls) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with PendingGroup() as group:
                one, two, three = (Pending() for _ in range(3))
                for pen in one, two, three:
                    pen.set_canceller(lambda _: None)
                # Failed already, all of them.
                two.set_exception(ValueError("two"))
                one.set_exception(ValueError("one"))
                for pen in one, two:
                    group.add(pen)
        assert raised(caught.value) == ["one", "two"]

    run(main)


def test_what_is_more_than_an_exception_comes_out_too(run: Run) -> None:
    async def main(_: Calls) -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with PendingGroup():
                Pending(None, PendingGroup).set_exception(SystemExit(3))
        assert not isinstance(caught.value, ExceptionGroup)

    run(main)


def test_who_waits_for_what_fails_sees_why(run: Run) -> None:
    # Deterministic, whichever thread it fails in, although the body is cancelled at the same time.
    async def main(call_soon: Calls) -> None:
        for shield in False, True:
            for func in fail, fail_soon:
                with pytest.raises(ValueError, match=r"^no$"):
                    async with PendingGroup():
                        await call_soon(func).wait(shield=shield)
        for _ in range(50):
            with pytest.raises(ExceptionGroup):
                async with PendingGroup():
                    pen = Pending(None, PendingGroup)
                    threading.Thread(target=pen.set_exception, args=(ValueError("no"),)).start()
                    with pytest.raises(ValueError, match=r"^no$"):
                        await pen
                    # The cancellation comes at the next wait.
                    with pytest.raises(cancelled_class()):
                        await forever()

    run(main)


@MODES
def test_a_failure_of_the_body_cancels_all(run: Run, mode: int) -> None:
    async def main(call_soon: Calls) -> None:
        with pytest.raises(KeyError):
            async with PendingGroup(mode=mode) as group:
                other = call_soon(forever)
                raise KeyError
        assert group.cancelled()
        assert other.cancelled()
        assert other.done()
        with pytest.raises(KeyError):
            async with PendingGroup(mode=mode):
                raise KeyError

    run(main)


def test_an_error_is_handled_by_the_inner_group_first(run: Run) -> None:
    async def main(call_soon: Calls) -> None:
        handled = []
        for _ in range(10):
            with pytest.raises(ExceptionGroup) as caught:
                async with PendingGroup() as outer:
                    try:
                        async with PendingGroup():
                            call_soon(fail_soon)
                            await forever()
                    except ExceptionGroup as error:
                        handled.append(error)
                    # But the outer one is cancelled as well, and comes next.
                    await forever()
            assert outer.cancelled()
            assert raised(caught.value) == ["no"]
        assert len(handled) == 10

    run(main)


# -- cancellation -------------------------------------------------------------------------------------------


@MODES
def test_a_cancelled_member(run: Run, mode: int) -> None:
    async def main(call_soon: Calls) -> None:
        gone_on = False
        with ends(mode if mode in FOLLOWS else 0):
            async with PendingGroup(mode=mode) as group:
                one = call_soon(forever)
                other = call_soon(sleep, 0.001)
                one.cancel("enough")
                # It has not begun, so that is all.
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
                    # Nothing here to be cancelled; nothing is cancelled later.
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
                # Shielded: whatever happens to it meanwhile.
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


def test_the_end_does_not_wait_for_ever(run: Run, caplog: pytest.LogCaptureFixture) -> None:
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
    # They cancel a task of asyncio again and again, whenever it waits.
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
    assert pending.PendingGroup.current() is None
