"""Start-stop tasks: they run until they are told to stop."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from callboard import Caller, Pending, PendingCancelled, PendingManager, StartStopTask
from caller_tools import collected, ended, run, run_until_stopped, stop
from event_loops import forever, sleep

if TYPE_CHECKING:
    from collections.abc import Callable


def test_start_stop_task(caller: Caller) -> None:
    seen: list[Any] = []

    async def work(started: Callable[[], None], stop: Pending, *args: Any, **kwargs: Any) -> str:
        seen.append((args, kwargs, threading.get_ident()))
        await sleep()
        started()
        started()
        await stop
        return "result"

    task = caller.create_start_stop_task(work)
    assert task.caller is caller
    assert task.start(1, 2, three=3) is task
    assert task.start() is task, "a second time does nothing"
    task.started.wait_sync()
    assert seen == [((1, 2), {"three": 3}, caller.id)]
    assert not task.stopping.done()
    assert task.stop() is task.stopped
    assert task.stop().wait_sync() == "result"
    assert task.stop().wait_sync() == "result"


def test_start_stop_task_misused(caller: Caller, loop: str) -> None:
    task = StartStopTask()
    with pytest.raises(RuntimeError, match="has not been set"):
        task.start()
    with pytest.raises(RuntimeError, match="set_task_function"):
        _ = task.caller
    task.set_task_function(run_until_stopped, caller=caller)
    with pytest.raises(RuntimeError, match="can only be set once"):
        task.set_task_function(run_until_stopped, caller=caller)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="start must be called"):
            await task
        with pytest.raises(RuntimeError, match="start must be called"):
            async with task:
                pass
        with pytest.raises(PendingCancelled, match="Stopped early"):
            await task.stop()
        task.start()
        assert task.started.cancelled()
        async with caller.create_start_stop_task(run_until_stopped).start() as once:
            pass
        assert await once == "stopped"
        with pytest.raises(RuntimeError, match="only be used once"):
            async with once:
                pass

    run(loop, main)


def test_start_stop_task_as_a_context(caller: Caller, loop: str) -> None:
    async def fails(started: Callable[[], None], _stop: Pending) -> None:
        started()
        await sleep(0.005)
        raise ZeroDivisionError

    async def returns(started: Callable[[], None], _stop: Pending) -> None:
        started()

    async def main() -> None:
        task = caller.create_start_stop_task(run_until_stopped).start()
        async with task as same:
            assert same is task
            assert task.started.done()
            assert not task.stopping.done()
        assert task.stopped.result() == "stopped"
        with pytest.raises(RuntimeError, match="stopped early"):
            async with caller.create_start_stop_task(returns).start():
                await forever()
        with pytest.raises(ZeroDivisionError):
            async with caller.create_start_stop_task(fails).start():
                await forever()
        task = caller.create_start_stop_task(run_until_stopped).start()
        with pytest.raises(KeyError):
            async with task:
                raise KeyError
        assert task.stopped.result() == "stopped"
        with pytest.raises(ZeroDivisionError):
            await caller.create_start_stop_task(fails).start()

    run(loop, main)


def test_a_caller_that_stops_waits_for_its_start_stop_tasks(caller: Caller) -> None:
    order: list[str] = []

    async def work(started: Callable[[], None], stop: Pending) -> None:
        started()
        await stop
        for _ in range(5):
            await sleep(0.001)
        order.append("task")

    task = caller.create_start_stop_task(work).start()
    task.started.wait_sync()
    caller.stopped.add_done_callback(lambda _pen: order.append("caller"))
    stop(caller)
    assert order == ["task", "caller"]
    assert not task.stopped.cancelled()


def test_cancelling_a_start_stop_task_stops_it(caller: Caller) -> None:
    class Mine(PendingManager):
        pass

    manager = Mine()
    with manager.context():
        task = caller.create_start_stop_task(run_until_stopped).start()
    task.started.wait_sync()
    (pen,) = manager.pending
    pen.cancel("enough")
    ended(task.stopped)
    assert task.stopping.done()
    with pytest.raises(PendingCancelled, match="enough"):
        task.stopped.result()


def test_a_start_stop_task_leaves_nothing_behind(caller: Caller) -> None:
    class Thing:
        async def method(self, started: Callable[[], None], stop: Pending) -> None:
            started()
            await stop

    thing = Thing()
    task = caller.create_start_stop_task(thing.method).start()
    task.started.wait_sync()
    task.stop().wait_sync()
    refs = weakref.ref(thing), weakref.ref(task)
    del thing, task
    assert collected(*refs)
