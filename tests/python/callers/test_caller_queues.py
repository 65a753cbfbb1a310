"""Queues of calls: one after the other, one queue for each function."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from typing import TYPE_CHECKING, Any

from callboard import Caller, Pending, PendingGroup
from caller_tools import PATIENCE, collected, ended, spin
from event_loops import forever, sleep

if TYPE_CHECKING:
    import pytest


def test_queue_call(caller: Caller) -> None:
    results: list[Any] = []
    done = Pending()

    async def work(n: int, *, last: int) -> None:
        await sleep(0.001 if n % 3 else 0)
        results.append((n, threading.get_ident()))
        if n == last:
            done.set_result(None)

    for n in range(30):
        caller.queue_call(work, n, last=29)
    pen = caller.queue_get(work)
    assert pen is not None
    done.wait_sync(timeout=PATIENCE)
    assert results == [(n, caller.id) for n in range(30)], "one after the other"
    assert caller.queue_get(work) is pen
    caller.queue_close(work)
    assert caller.queue_get(work) is None
    ended(pen)
    assert not pen.cancelled()
    caller.queue_close(work)
    caller.queue_close(12345)


def test_a_queue_outlives_what_fails(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    def work(what: Any) -> None:
        if isinstance(what, type):
            raise what("broken")
        what.set_result(Caller.current_pending())

    async def work_later(what: Any) -> None:
        await sleep()
        work(what)

    for func in (work, work_later):
        pens = []
        for error in (ValueError, asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            caller.queue_call(func, error)
            pens.append(Pending())
            caller.queue_call(func, pens[-1])
        (queue,) = {pen.wait_sync(timeout=PATIENCE) for pen in pens}
        assert queue is caller.queue_get(func)
        caller.queue_close(func)
    assert caplog.text.count("a queued call of") == 8


def test_a_function_without_another_reference_is_called(caller: Caller) -> None:
    for _ in range(20):
        pen = Pending()
        caller.queue_call(lambda pen=pen: pen.set_result(1))
        assert pen.wait_sync(timeout=PATIENCE) == 1
    caller.to_thread(caller.queue_call, (pen := Pending()).set_result, 2)
    assert pen.wait_sync(timeout=PATIENCE) == 2


def test_a_queue_ends_with_its_function(caller: Caller) -> None:
    class Thing:
        async def method(self, pen: Pending) -> None:
            pen.set_result(None)

    thing = Thing()
    for _ in range(2):
        caller.queue_call(thing.method, pen := Pending())
        pen.wait_sync()
    queue = caller.queue_get(thing.method)
    assert queue is not None
    ref = weakref.ref(thing)
    del thing
    assert collected(ref)
    assert ended(queue).done()
    assert not caller._queues


def test_queues_leave_nothing_behind(caller: Caller) -> None:
    def work(pen: Pending) -> None:
        pen.set_result(None)

    def finalizers() -> int:
        return len(weakref.finalize._registry)  # type: ignore[attr-defined]

    before = finalizers()
    for _ in range(50):
        caller.queue_call(work, pen := Pending())
        pen.wait_sync()
        caller.queue_close(work)
    assert finalizers() <= before + 1


def test_a_queued_call_is_cancelled(caller: Caller) -> None:
    begun: list[Pending] = []

    async def waits() -> None:
        begun[-1].set_result(None)
        await forever()

    def computes() -> None:
        begun[-1].set_result(None)
        spin()

    for func in (waits, computes):
        begun.append(Pending())
        caller.queue_call(func)
        caller.queue_call(func)
        begun[-1].wait_sync()
        pen = caller.queue_get(func)
        assert pen is not None
        pen.cancel()
        assert ended(pen).cancelled()
        assert caller.queue_get(func) is None
        caller.queue_call(called := Pending().set_result, 1)
        assert called.__self__.wait_sync(timeout=PATIENCE) == 1, "other queues go on"


def test_the_context_of_a_queue_is_that_of_the_first_call(caller: Caller) -> None:
    variable = contextvars.ContextVar("variable", default=0)
    seen: list[int] = []
    done = Pending()

    def work(is_last: bool) -> None:
        seen.append(variable.get())
        if is_last:
            done.set_result(None)

    for n in range(3):
        variable.set(n)
        caller.queue_call(work, n == 2)
    done.wait_sync()
    assert seen == [0, 0, 0]
    caller.queue_close(work)


def test_queues_and_groups(caller: Caller) -> None:
    """Groups do not wait for queues, which have no end."""

    async def main() -> None:
        async with PendingGroup() as group:
            Caller().queue_call(work)
            assert group.pending == set()

    def work() -> None:
        pass

    caller.call_soon(main).wait_sync(timeout=PATIENCE)
    caller.queue_close(work)


def test_queue_call_from_8_threads(caller: Caller) -> None:
    seen: list[tuple[int, int]] = []
    done = Pending()

    def work(thread: int, n: int) -> None:
        seen.append((thread, n))
        if len(seen) == 8000:
            done.set_result(None)

    def give(thread: int) -> None:
        for n in range(1000):
            caller.queue_call(work, thread, n)

    threads = [threading.Thread(target=give, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    done.wait_sync(timeout=PATIENCE)
    for thread in threads:
        thread.join()
    for thread in range(8):
        assert [n for which, n in seen if which == thread] == list(range(1000))
    caller.queue_close(work)
