"""`PendingGroup`: its members, and how it fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from callboard.aio import tracker
from callboard.aio.group import PendingGroup
from callboard.aio.pending import Pending
from callboard.aio.tracker import PendingManager, PendingTracker
from event_loops import Calls, cancelled_class, forever, sleep
from group_tools import MODES, fail, fail_soon, raised

if TYPE_CHECKING:
    from event_loops import Run


# -- what belongs to it --------------------------------------------------------------------------------


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


def test_a_member_completed_by_a_thread_ends_the_wait(run: Run) -> None:
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


def test_it_finds_callers_before_any_has_been_imported() -> None:
    code = """
        import asyncio, callboard
        async def main():
            async with callboard.PendingGroup() as group:
                pen = group.caller.call_soon(lambda: type(group.caller).__name__)
            print(pen.result())
        asyncio.run(main())
        """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "Caller\n"


def test_it_knows_the_caller_of_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    here = threading.get_ident()
    callers = {here: SimpleNamespace(thread=here)}
    monkeypatch.setattr(
        tracker, "caller_of_thread", lambda ident: callers.get(ident) if ident == threading.get_ident() else None
    )
    group = PendingGroup()
    assert group.caller is group.caller
    assert group.caller.thread == threading.get_ident()

    async def elsewhere() -> None:
        group = PendingGroup()
        with pytest.raises(RuntimeError, match="no Caller"):
            await asyncio.to_thread(lambda: group.caller)

    asyncio.run(elsewhere())


# -- errors --------------------------------------------------------------------------------------------


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


def test_a_base_exception_comes_out_too(run: Run) -> None:
    async def main(_: Calls) -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with PendingGroup():
                Pending(None, PendingGroup).set_exception(SystemExit(3))
        assert not isinstance(caught.value, ExceptionGroup)

    run(main)


def test_a_wait_for_a_failed_member_raises_its_error(run: Run) -> None:
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
