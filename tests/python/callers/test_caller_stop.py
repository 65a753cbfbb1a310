"""Stops Callers: by a call, by their parent, at the end of a context."""

from __future__ import annotations

import time

import pytest
from callboard import Caller, Pending, PendingCancelled
from caller_tools import PATIENCE, ended, library, run, run_until_stopped, spin, stop
from event_loops import forever, skip_without_guest, sleep


def test_stop(caller: Caller) -> None:
    waiting = caller.call_soon(forever)
    later = caller.call_later(1000, print)
    stopped = caller.stop()
    assert stopped is caller.stopped
    assert caller.stopping.done()
    assert caller.stop() is caller.stop(force=True) is stopped, "more than once"
    ended(stopped)
    assert waiting.cancelled()
    assert later.cancelled()
    assert caller.stop() is stopped, "also when it has stopped"
    assert caller.thread is not None
    caller.thread.join(PATIENCE)
    assert not caller.thread.is_alive()


def test_calls_to_a_stopped_caller(caller: Caller, loop: str) -> None:
    skip_without_guest(caller.backend)
    stop(caller)
    calls = [caller.call_soon(print), caller.call_later(0, print), caller.call_using_backend("asyncio", print)]
    for pen in calls:
        assert pen.done()
        with pytest.raises(PendingCancelled, match="has stopped"):
            pen.result()
    caller.call_direct(print, "not printed")
    caller.queue_call(print, "not printed")
    assert caller.queue_get(print) is None
    caller.queue_close(print)
    for refused in (caller.get, lambda: caller.to_thread(print), lambda: caller.get(name="child")):
        with pytest.raises(RuntimeError, match="is stopping"):
            refused()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="has been stopped"):
            async with caller:
                pass
        with pytest.raises(PendingCancelled):
            async for _ in caller.as_completed(iter([Pending()])):
                pass
        with pytest.raises(PendingCancelled, match="has stopped"):
            await caller.create_start_stop_task(run_until_stopped).start()

    run(loop, main)


def test_a_call_that_computes_ends_when_its_caller_stops(caller: Caller) -> None:
    for when in ("before", "after"):
        victim = caller.get()
        if when == "after":
            ended(victim.started)
            begun = Pending()
            pen = victim.call_soon(lambda begun=begun: (begun.set_result(None), spin()))
            begun.wait_sync()
        else:
            pen = victim.call_soon(spin)
        queued = victim.call_soon(spin)
        stop(victim)
        assert pen.cancelled()
        assert queued.cancelled()


def test_stopping_at_any_moment(backend: str) -> None:
    """100 Callers, stopped while they start, run, or have little to do."""
    for n in range(100):
        caller = Caller("NewThread", backend=backend)
        pens = [caller.call_soon(func) for func in (lambda: 1, forever, spin)[: n % 4]]
        until = time.perf_counter() + n % 10 * 1e-3
        while time.perf_counter() < until:
            pass
        ended(caller.stop())
        assert all(pen.done() for pen in pens)
        assert caller.started.done()


def test_a_call_stops_its_own_caller(backend: str) -> None:
    def now() -> str:
        Caller().stop()
        return "done"

    async def later() -> str:
        Caller().stop()
        await sleep(1000)
        return "not reached"

    caller = Caller("NewThread", backend=backend)
    assert caller.call_soon(now).wait_sync() == "done"
    ended(caller.stopped)
    caller = Caller("NewThread", backend=backend)
    assert ended(caller.call_soon(later)).cancelled()
    ended(caller.stopped)


def test_waiting_for_oneself(caller: Caller) -> None:
    async def myself() -> None:
        me = Caller.current_pending()
        assert me is not None
        await me

    def my_end() -> None:
        Caller().stopped.wait_sync()

    async def in_a_group() -> None:
        me = Caller.current_pending()
        await Caller().wait([me])  # type: ignore[list-item]

    async def as_completed(kind: type) -> None:
        me = Caller.current_pending()
        async for _ in Caller().as_completed(kind([me])):
            pass

    def block() -> None:
        Caller().call_soon(print).wait_sync()

    for call in (
        caller.call_soon(myself),
        caller.call_soon(my_end),
        caller.call_soon(in_a_group),
        caller.call_soon(as_completed, list),
        caller.call_soon(as_completed, iter),
        caller.call_soon(block),
    ):
        with pytest.raises(RuntimeError, match="end"):
            call.wait_sync(timeout=PATIENCE)


def test_protected(caller: Caller) -> None:
    assert not caller.protected
    caller.protected = True
    assert caller.protected
    with pytest.warns(RuntimeWarning, match=r"is protected and goes on: stop it with stop\(force=True\)"):
        assert caller.stop() is None
    assert not caller.stopping.done()
    with pytest.raises(ValueError, match="cannot be taken back"):
        caller.protected = False
    child = caller.get()
    child.protected = True
    ended(caller.stop(force=True))
    assert child.stopped.done(), "its parent's end is stronger"


def test_contexts(loop: str) -> None:
    async def main() -> None:
        async with Caller() as caller:
            assert caller is Caller()
            assert caller.protected
            assert caller.stop() is None
            async with Caller() as same:
                assert same is caller
            assert not caller.stopping.done()
            async with caller.get(name="child") as child:
                assert child.protected
                assert await child.call_soon(library) == caller.backend
                worker = await caller.to_thread(Caller)
            assert child.stopped.done()
            assert not worker.stopping.done()
            waiting = caller.call_soon(forever)
            await sleep(0.001)
        assert caller.stopped.done()
        assert worker.stopped.done()
        assert waiting.cancelled()
        with pytest.raises(RuntimeError, match="has been stopped"):
            async with caller:
                pass
        async with Caller() as another:
            assert another is not caller

    run(loop, main)


def test_contexts_in_many_tasks(loop: str, backend: str) -> None:
    """The last context to leave stops the Caller, and the first waits for that."""

    async def main() -> None:
        caller = Caller("NewThread", backend=backend)
        helper = Caller("NewThread", backend=backend)
        inside, go = Pending(), Pending()

        async def other() -> None:
            async with caller:
                inside.set_result(None)
                await go
            events.append("other")

        def let_go() -> None:
            events.append("go")
            go.set_result(None)

        events: list[str] = []
        async with caller:
            pen = helper.call_soon(other)
            await inside
            helper.call_later(0.02, let_go)
        assert caller.stopped.done()
        await pen
        assert sorted(events) == ["go", "other"]
        helper.stop()
        await helper.stopped

    run(loop, main)


def test_a_context_that_fails(loop: str, backend: str) -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with Caller("NewThread", backend=backend) as caller:
                pen = caller.call_soon(spin)
                1 / 0  # noqa: B018
        assert caller.stopped.done()
        assert pen.cancelled()

    run(loop, main)


def test_a_context_in_a_call(caller: Caller) -> None:
    """The first task to enter ends the Caller when it leaves; the other task is cancelled."""

    async def first() -> str:
        async with Caller() as me:
            second_inside = me.call_soon(second)
            await entered
            async with me:
                await me.call_soon(lambda: 1)
        assert second_inside.cancelled()
        assert me.stopping.done()
        return "first"

    async def second() -> None:
        async with Caller():
            entered.set_result(None)
            await forever()

    entered = Pending()
    assert caller.call_soon(first).wait_sync(timeout=PATIENCE) == "first"
    ended(caller.stopped)
