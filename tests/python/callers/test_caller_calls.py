"""Calls functions in the thread of a Caller: their order, context, result and error."""

from __future__ import annotations

import contextvars
import gc
import threading
import time
import weakref
from typing import Any

import pytest
from callboard import Caller, Pending, PendingManager
from caller_tools import PATIENCE, ended, run, stop
from event_loops import forever, sleep
from support import FREE_THREADED


def test_call_soon(caller: Caller) -> None:
    def sync(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        await sleep()
        return args, kwargs

    for func in (sync, coroutine, lambda *args, **kwargs: coroutine(*args, **kwargs)):
        for call in (caller.call_soon, lambda *args, **kwargs: caller.call_later(0, *args, **kwargs), caller.to_thread):
            assert call(func, 1, None, func=2, self=3).wait_sync() == ((1, None), {"func": 2, "self": 3})


def test_an_error_of_a_call_is_in_its_pending(caller: Caller) -> None:
    class Broken(BaseException):
        pass

    async def later(error: BaseException) -> None:
        await sleep()
        raise error

    def now(error: BaseException) -> None:
        raise error

    # Also what would end a program: the Pending holds it.
    for error in (ValueError("no"), KeyboardInterrupt(), SystemExit(3), Broken(), GeneratorExit(), StopIteration(1)):
        for func in (now, later):
            if func is later and isinstance(error, StopIteration):
                continue
            for pen in (caller.call_soon(func, error), caller.to_thread(func, error)):
                assert ended(pen).exception() is error
                assert not pen.cancelled()
    assert caller.call_soon(lambda: 1).wait_sync() == 1


def test_a_traceback_starts_in_the_user_s_code(caller: Caller) -> None:
    async def broken() -> None:
        await sleep()
        raise ValueError

    error = ended(caller.call_soon(broken)).exception()
    assert error is not None
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code is broken.__code__


@pytest.mark.skipif(FREE_THREADED, reason="references to functions and code are counted by the garbage collector")
def test_a_failure_keeps_nothing_alive(caller: Caller) -> None:
    class Thing:
        pass

    def broken(_thing: Thing) -> None:
        raise ValueError

    thing = Thing()
    pen = caller.call_soon(broken, thing)
    ended(pen)
    ref = weakref.ref(thing)
    gc.disable()
    try:
        del pen, thing
        deadline = time.monotonic() + PATIENCE
        while ref() is not None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert ref() is None, "without garbage to be collected"
    finally:
        gc.enable()


def test_a_pending_that_is_returned_is_not_awaited(caller: Caller) -> None:
    pen = Pending()
    assert caller.call_soon(lambda: pen).wait_sync() is pen


def test_call_later(caller: Caller) -> None:
    start = time.monotonic()
    pens = [caller.call_later(delay, time.monotonic) for delay in (0.2, 0.05, 0, -1)]
    times = [pen.wait_sync() - start for pen in pens]
    assert times[0] >= 0.2
    assert times[1] >= 0.05
    pen = caller.call_later(1000, lambda: 1)
    pen.cancel()
    assert ended(pen).cancelled()


def test_call_direct(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    async def coroutine() -> None:
        pass

    def fail(error: type[BaseException]) -> None:
        raise error

    order: list[int] = []
    done = Pending()
    caller.call_direct(fail, ValueError)
    caller.call_direct(fail, SystemExit)
    caller.call_direct(fail, KeyboardInterrupt)
    caller.call_direct(coroutine)
    caller.call_direct(order.append, 1)
    caller.call_direct(lambda: order.append(threading.get_ident()))
    caller.call_direct(lambda: done.set_result(Caller.current_pending()))
    assert done.wait_sync(timeout=PATIENCE) is None
    assert order == [1, caller.id]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [
        ValueError,
        SystemExit,
        KeyboardInterrupt,
    ]
    assert "use call_soon" in caplog.text


def test_order() -> None:
    """On asyncio, calls begin in the order in which they were made. trio shuffles its tasks."""
    caller = Caller("NewThread")
    order: list[int] = []
    pens = []
    for n in range(1000):
        # The last one among them.
        if n % 3 == 0:
            pens.append(caller.call_soon(order.append, n))
        else:
            caller.call_soon(order.append, n)
    for pen in pens:
        ended(pen)
    assert order == list(range(1000))
    stop(caller)


def test_schedule_call(caller: Caller) -> None:
    variable = contextvars.ContextVar("variable", default=0)

    class Mine(PendingManager):
        pass

    context = contextvars.copy_context()
    context.run(variable.set, 7)
    pen = caller.schedule_call(variable.get, (), {}, context, colour="red")
    assert pen.wait_sync() == 7
    assert pen.metadata["colour"] == "red"
    assert pen.metadata["caller"] is caller
    assert caller.schedule_call(lambda a, b: a - b, (3,), {"b": 1}).wait_sync() == 2
    assert caller.schedule_call(variable.get, (), {}, context, (), colour="red").wait_sync() == 7
    assert caller.schedule_call(variable.get, (), {}, None, ()).wait_sync() == 0
    manager = Mine()
    with manager.context():
        variable.set(9)
        pen = caller.schedule_call(forever, (), {}, None, Mine)
        assert manager.pending == {pen}
        assert caller.schedule_call(variable.get, (), {}, None, ()).wait_sync() == 9
        assert manager.pending == {pen}
    pen.cancel()
    ended(pen)
    assert manager.pending == set()


def test_contexts_are_copies(caller: Caller) -> None:
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(1)

    def change() -> int:
        before = variable.get()
        variable.set(before + 10)
        return before

    async def outer() -> list[int]:
        first = await Caller().call_soon(change)
        variable.set(2)
        second = await Caller().call_soon(change)
        third = await Caller().to_thread(change)
        fourth = await Caller().call_later(0, change)
        return [first, second, third, fourth, variable.get()]

    assert caller.call_soon(outer).wait_sync() == [1, 2, 2, 2, 2]
    assert caller.call_soon(change).wait_sync() == 1
    assert variable.get() == 1


def test_current_pending(caller: Caller) -> None:
    async def nested() -> tuple[Any, Any]:
        inner = Caller().call_soon(Caller.current_pending)
        assert await inner is inner
        return Caller.current_pending(), await Caller().to_thread(Caller.current_pending) is not None

    pen = caller.call_soon(nested)
    assert pen.wait_sync() == (pen, True)
    assert Caller.current_pending() is None


def test_from_a_plain_thread_and_from_loops(caller: Caller, loop: str) -> None:
    async def main() -> int:
        return await caller.call_soon(sleep) or await caller.call_soon(lambda: 5)

    assert run(loop, main) == 5


def test_calls_of_each_other(backend: str) -> None:
    one, other = Caller("NewThread", backend=backend), Caller("NewThread", backend="asyncio")

    async def down(n: int) -> int:
        return 0 if n == 0 else 1 + await (other if Caller() is one else one).call_soon(down, n - 1)

    try:
        assert one.call_soon(down, 50).wait_sync() == 50
    finally:
        stop(one, other)
