"""A result that is not there yet: completed, cancelled and waited for from everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from callboard import _core
from callboard.aio import wakeups
from callboard.aio.pending import (
    Pending,
    PendingCancelled,
    PendingManager,
    PendingNotDone,
    PendingTracker,
    ProtectedPending,
    Running,
    current_pending,
)
from callboard.aio.wakeups import Wakeups
from event_loops import (
    RUNNERS,
    all_of,
    asyncio_in_trio,
    calls,
    cancelled_class,
    forever,
    give_up_after,
    no_anyio,
    run_asyncio,
    run_trio,
    run_uvloop,
    sleep,
    trio_in_asyncio,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How long what must come may take, seconds.
PATIENCE = 60.0

Run = "Callable[[Callable[[], Any]], Any]"


@pytest.fixture(params=RUNNERS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs an async function in an event loop, of each kind."""
    return RUNNERS[request.param]


class InThread:
    """Calls a function in a thread. Its result, and what it raises, come out at the end of the block."""

    def __init__(self, func: Callable[..., Any], *args: Any) -> None:
        self._func, self._args = func, args
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.result = self._func(*self._args)
        except BaseException as error:  # noqa: BLE001 - raised by the thread that asked for it
            self.error = error

    def __enter__(self) -> InThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the thread hangs"
        if hasattr(self, "error"):
            raise self.error


def in_thread(func: Callable[..., Any], *args: Any) -> None:
    """Calls a function in a thread, a little later than now."""
    threading.Timer(0.005, func, args).start()


# -- what it is ---------------------------------------------------------------------------------------------


def test_is_completed_once() -> None:
    pen = Pending[int]()
    assert inspect.isawaitable(pen)
    assert not pen.done()
    pen.set_result(1)
    pen.set_result(2)
    pen.set_exception(RuntimeError())
    assert pen.cancel() is False
    assert (pen.done(), pen.cancelled(), pen.result(), pen.exception()) == (True, False, 1, None)


def test_an_exception_is_raised_where_the_result_is_asked_for() -> None:
    pen = Pending()
    error = ValueError("no")
    error.__cause__ = cause = KeyError("why")
    pen.set_exception(error)
    pen.set_result(1)
    assert pen.exception() is error
    for _ in range(2):
        with pytest.raises(ValueError, match="no") as raised:
            pen.result()
        assert raised.value is error
        assert error.__cause__ is cause
        # Raising it again and again does not make it longer.
        assert len(raised.traceback) == 1


def test_the_traceback_of_an_exception_is_kept() -> None:
    def fails() -> None:
        raise ValueError("no")

    pen = Pending()
    try:
        fails()
    except ValueError as error:
        pen.set_exception(error)
    with pytest.raises(ValueError, match="no") as raised:
        pen.result()
    assert [entry.name for entry in raised.traceback][1:] == [inspect.currentframe().f_code.co_name, "fails"]


@pytest.mark.parametrize("bad", [None, 1, "RuntimeError", int, object()])
def test_only_an_exception_can_be_set(bad: object) -> None:
    pen = Pending()
    with pytest.raises(TypeError, match="an exception is needed"):
        pen.set_exception(bad)
    assert not pen.done()
    pen.set_exception(KeyError)
    assert type(pen.exception()) is KeyError


def test_has_no_result_before_it_is_done() -> None:
    pen = Pending()
    for ask in pen.result, pen.exception:
        with pytest.raises(PendingNotDone, match="wait for it"):
            ask()
    assert issubclass(PendingNotDone, RuntimeError)


def test_cancelling_it_ends_it() -> None:
    pen = Pending()
    assert pen.cancel() is True
    assert (pen.done(), pen.cancelled()) == (True, True)
    for ask in pen.result, pen.exception:
        with pytest.raises(PendingCancelled):
            ask()
    assert pen.cancel("again") is True
    assert PendingCancelled.__module__ == "callboard"


def test_a_canceller_decides_when_it_ends() -> None:
    asked = []
    pen = Pending()
    pen.set_canceller(asked.append)
    assert pen.cancel()
    assert pen.cancel("one")
    assert pen.cancel(None)
    assert pen.cancel("two")
    assert asked == [None, "one", None, "one\ntwo"]
    assert (pen.done(), pen.cancelled()) == (False, True)
    with pytest.raises(PendingCancelled, match=r"^one\ntwo$"):
        pen.result()
    pen.set_result(1)
    assert pen.done()
    with pytest.raises(PendingCancelled):
        pen.result()
    pen.set_canceller(asked.append)
    assert len(asked) == 4


def test_a_late_canceller_learns_that_it_is_needed() -> None:
    asked = []
    pen = Pending()
    pen.set_canceller(lambda _: None)
    pen.cancel("why")
    pen.set_canceller(asked.append)
    assert asked == ["why"]


def test_what_a_canceller_raises_reaches_who_asked() -> None:
    pen = Pending()
    pen.set_canceller(lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pen.cancel()
    assert pen.cancelled()


def test_metadata_and_context() -> None:
    pen = Pending(a=1, context=2)
    assert pen.metadata == {"a": 1, "context": 2}
    pen.metadata["b"] = 3
    assert pen.metadata["b"] == 3
    assert pen.context is None
    with pytest.raises(AttributeError):
        pen.metadata = {}
    variable = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    context.run(variable.set, 1)
    pen = Pending(context)
    assert pen.context is not context
    assert pen.context[variable] == 1


def test_is_small_but_can_be_subclassed() -> None:
    class Mine(Pending[int]):
        def __init__(self, first: int, *, second: int) -> None:
            super().__init__(None, first=first)
            self.second = second

    mine = Mine(1, second=2)
    assert (mine.metadata, mine.second) == ({"first": 1}, 2)
    with pytest.raises(AttributeError):
        Pending().anything = None


def test_repr_says_how_it_is() -> None:
    pen = Pending(func=len, args=(1,), size="long " * 100)
    assert repr(pen).startswith("<Pending open func=<built-in function len> size='long long ")
    assert len(repr(pen)) < 200
    pen.set_canceller(lambda _: None)
    pen.cancel("why")
    assert repr(pen).startswith("<Pending cancelled='why' ending ")
    pen.set_result(None)
    assert repr(pen).startswith("<Pending cancelled='why' func=")
    pen = ProtectedPending()
    pen.set_exception(KeyError("k"))
    assert repr(pen).startswith("<ProtectedPending error=KeyError('k') at ")


def test_garbage_is_collected() -> None:
    class Thing:
        pass

    def make() -> tuple[weakref.ref, weakref.ref]:
        thing = Thing()
        pen = Pending(thing=thing)
        # Through each of what it holds.
        pen.add_done_callback(lambda _: pen)
        pen.set_canceller(lambda _: pen)
        done = Pending()
        done.set_result((done, pen))
        failed = Pending()
        error = ValueError()
        error.args = (failed, done)
        failed.set_exception(error)
        return weakref.ref(pen), weakref.ref(thing)

    references = make()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


# -- callbacks ----------------------------------------------------------------------------------------------


def test_callbacks_run_first_come_first_in_the_thread_that_completes_it() -> None:
    pen = Pending()
    called = []
    for n in range(5):
        pen.add_done_callback(lambda p, n=n: called.append((n, p is pen, p.done(), threading.get_ident())))
    with InThread(lambda: (pen.set_result(1), threading.get_ident())) as thread:
        pass
    assert called == [(n, True, True, thread.result[1]) for n in range(5)]
    pen.add_done_callback(lambda _: called.append("at once"))
    assert called[-1] == "at once"


def test_callbacks_can_be_removed() -> None:
    class Counter:
        count = 0

        def add(self, _: object) -> None:
            self.count += 1

    counter, other = Counter(), Counter()
    pen = Pending()
    for callback in counter.add, other.add, counter.add:
        pen.add_done_callback(callback)
    assert pen.remove_done_callback(counter.add) == 2
    assert pen.remove_done_callback(counter.add) == 0
    pen.cancel()
    assert (counter.count, other.count) == (0, 1)
    assert pen.remove_done_callback(other.add) == 0


def test_a_callback_that_fails_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    called = []

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    pen = Pending()
    pen.add_done_callback(lambda _: 1 / 0)
    pen.add_done_callback(called.append)
    with caplog.at_level(logging.ERROR):
        pen.set_result(1)
    assert called == [pen]
    assert "ZeroDivisionError" in caplog.text

    pen = Pending()
    pen.add_done_callback(interrupt)
    pen.add_done_callback(called.append)
    with pytest.raises(KeyboardInterrupt):
        pen.set_result(1)
    assert pen in called


def test_who_waits_finds_the_work_of_callbacks_done(run: Run) -> None:
    async def main() -> None:
        for _ in range(50):
            done = []
            pen = Pending()
            pen.add_done_callback(done.append)
            pen.add_done_callback(lambda _: os.stat("."))
            pen.add_done_callback(done.append)
            in_thread(pen.set_result, 1)
            await pen
            assert len(done) == 2

    run(main)


def test_exactly_one_of_many_threads_completes_it() -> None:
    error = RuntimeError("set")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(1000):
            pen = Pending()
            called = []
            pen.add_done_callback(called.append)
            actions = [
                pool.submit(pen.set_result, 1),
                pool.submit(pen.set_exception, error),
                pool.submit(pen.cancel),
                pool.submit(pen.add_done_callback, called.append),
            ]
            for action in actions:
                action.result()
            assert called == [pen, pen]
            with contextlib.suppress(PendingCancelled):
                assert pen.exception() is error or pen.result() == 1


# -- waiting in an event loop -------------------------------------------------------------------------------


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


def test_what_is_done_needs_no_event_loop() -> None:
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


# -- waiting in a thread ------------------------------------------------------------------------------------


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


# -- waiting for oneself ------------------------------------------------------------------------------------


def test_a_call_cannot_wait_for_itself(run: Run) -> None:
    async def wait() -> None:
        await current_pending.get()

    async def wait_with_help() -> int:
        # This would end: somebody else waits, and the call goes on.
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
            # Another thread may.
            assert not await asyncio.to_thread(pen._wait, 0.01)
            await asyncio.gather(asyncio.to_thread(pen.wait_sync, result=False), pen.cancel_wait())

    run_asyncio(main)
    # One that has not begun is known by its Caller.
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


# -- several loops in one thread ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", [run_asyncio, run_uvloop, run_trio])
def test_a_host_and_its_guest_wait_at_the_same_time(host: Run) -> None:
    # In the host's own tasks and in the guest's.
    pens = [Pending() for _ in range(200)]

    async def wait_all() -> list[int]:
        return [await pen for pen in pens]

    async def guest() -> list[int]:
        return await (trio_in_asyncio if host is not run_trio else asyncio_in_trio)(wait_all)

    def complete() -> None:
        for n, pen in enumerate(pens):
            pen.set_result(n)

    with InThread(complete):
        assert host(lambda: all_of(guest, wait_all)) == [list(range(200))] * 2


@pytest.mark.parametrize("host", [run_asyncio, run_uvloop, run_trio])
def test_a_guest_and_its_host_wake_each_other(host: Run) -> None:
    one, two = ([Pending() for _ in range(500)] for _ in range(2))

    async def play(mine: list[Pending], other: list[Pending]) -> None:
        for n, (give, take) in enumerate(zip(mine, other, strict=True)):
            give.set_result(n)
            assert await take == n

    async def guest() -> None:
        await (trio_in_asyncio if host is not run_trio else asyncio_in_trio)(lambda: play(one, two))

    host(lambda: all_of(guest, lambda: play(two, one)))


@pytest.mark.filterwarnings("ignore:It looks like Trio's signal handling")
def test_a_trio_run_inside_of_an_asyncio_task() -> None:
    async def wait() -> int:
        pen = Pending()
        in_thread(pen.set_result, 1)
        return await pen

    async def main() -> None:
        # It blocks the asyncio loop, as a cell may do.
        assert trio.run(wait) == 1
        assert await wait() == 1

    run_asyncio(main)
    run_uvloop(main)


@pytest.mark.skipif(find_spec("trio_asyncio") is None, reason="trio-asyncio is not installed")
def test_asyncio_made_of_trio() -> None:
    folder = Path(__file__).parent
    tests = [folder / "test_pending.py", folder / "test_pending_group.py"]
    environment = os.environ | {"CALLBOARD_TEST_TRIO_ASYNCIO": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-k", "trio_asyncio", *tests]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


# -- the life of a loop -------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.exists("/proc/self/fd") else "/dev/fd"))


@pytest.mark.parametrize("name", RUNNERS)
def test_a_thousand_loops_leave_no_descriptor(name: str) -> None:
    async def main() -> None:
        pen = Pending()
        threading.Thread(target=pen.set_result, args=(1,)).start()
        await pen

    run = RUNNERS[name]
    run(main)
    gc.collect()
    before = descriptors()
    # The collector is not needed.
    gc.disable()
    try:
        for _ in range(100 if "_" in name else 1000):
            run(main)
        assert descriptors() <= before + 2
    finally:
        gc.enable()


def test_a_loop_that_is_dropped_open_leaves_no_descriptor() -> None:
    def open_and_drop() -> None:
        asyncio.new_event_loop().run_until_complete(wait())
        with pytest.warns(ResourceWarning):
            gc.collect()

    async def wait() -> None:
        pen = Pending()
        in_thread(pen.set_result, 1)
        await pen

    open_and_drop()
    before = descriptors()
    for _ in range(10):
        open_and_drop()
    assert descriptors() <= before


def test_what_ends_last_in_trio_is_woken_too() -> None:
    async def system_task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            # The run ends, and all system tasks with it; this one still has to wait for something.
            pen = Pending()
            in_thread(pen.set_result, 1)
            assert await pen.wait(shield=True) == 1
            ended.append(1)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(system_task)
        await sleep(0)

    ended: list[int] = []
    trio.run(main)
    assert ended == [1]


def test_waits_from_the_loops_own_callbacks_are_seen_by_the_loop() -> None:
    async def main() -> None:
        found = []
        asyncio.get_running_loop().call_soon(lambda: found.append(wakeups.for_current_loop()))
        await asyncio.sleep(0)
        assert found == [wakeups.for_current_loop()]

    run_asyncio(main)


# -- wakeups ------------------------------------------------------------------------------------------------


def test_a_token_is_fired_until_it_is_forgotten() -> None:
    wakes = Wakeups()
    called = []
    token = wakes.register(lambda: called.append(1))
    other = wakes.register(lambda: called.append(2))
    with InThread(lambda: [wakes.wake(token) for token in (token, other, token)]):
        pass
    wakes.forget(other)
    wakes.drain()
    assert called == [1, 1]
    wakes.drain()
    assert called == [1, 1]


def test_an_interrupted_drain_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def interrupt() -> None:
        wakes.forget(interrupting)
        raise KeyboardInterrupt

    wakes = Wakeups(_core.Inbox())
    called = []
    first = wakes.register(lambda: called.append("first"))
    failing = wakes.register(lambda: 1 / 0)
    interrupting = wakes.register(interrupt)
    last = wakes.register(lambda: called.append("last"))
    for token in first, failing, interrupting, last:
        wakes.wake(token)
    with pytest.raises(KeyboardInterrupt):
        wakes.drain()
    assert called == ["first"]
    assert "ZeroDivisionError" in caplog.text
    assert len(wakes.inbox) == 2
    wakes.drain()
    assert called == ["first", "last"]


def test_a_loop_can_bring_its_own_inbox() -> None:
    async def main() -> None:
        wakes = Wakeups(_core.Inbox())
        wakeups.attach(wakes)
        if wakeups.current_library() == "trio":

            async def drain() -> None:
                while not pen.done():
                    await trio.lowlevel.wait_readable(wakes.inbox.fileno())
                    wakes.drain()
        else:
            asyncio.get_running_loop().add_reader(wakes.inbox.fileno(), wakes.drain)

            async def drain() -> None:
                pass

        async def wait() -> int:
            assert wakeups.for_current_loop() is wakes
            return await pen

        pen = Pending()
        in_thread(pen.set_result, 1)
        assert (await all_of(drain, wait))[1] == 1
        if wakeups.current_library() != "trio":
            asyncio.get_running_loop().remove_reader(wakes.inbox.fileno())

    for run in RUNNERS.values():
        run(main)


@pytest.fixture
def home() -> Iterator[Wakeups]:
    """The home of what no loop is there for."""
    assert wakeups.home is None
    wakeups.home = Wakeups()
    yield wakeups.home
    wakeups.home = None


def test_the_callbacks_of_an_adopted_pending_run_at_home(home: Wakeups) -> None:
    # What an actor does is played here: it would wake the token that the pending has at home.
    pen = Pending()
    wakeups.adopt(pen)
    called = []
    pen.add_done_callback(called.append)
    reference = weakref.ref(pen)
    pen.set_result(1)
    assert called == [pen]
    called.clear()
    del pen
    gc.collect()
    assert reference() is not None
    home.drain()
    gc.collect()
    assert reference() is None


def test_an_adopted_pending_moves_when_its_loop_ends(run: Run, home: Wakeups, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Pending:
        pen = Pending()
        pen.set_canceller(lambda _: None)
        wakeups.adopt(pen)
        assert not home._adopted
        return pen

    pen = run(main)
    assert list(home._adopted.values()) == [pen]
    pen.set_result(1)
    home.drain()
    assert not home._adopted
    assert not caplog.text


def test_a_pending_cannot_be_adopted_without_a_loop() -> None:
    with pytest.raises(RuntimeError, match=r"callboard\.wakeups\.home"):
        wakeups.adopt(Pending())


# -- trackers -----------------------------------------------------------------------------------------------


class Manager(PendingManager):
    """For these tests."""


class Other(PendingManager):
    """Another kind."""


def test_a_manager_tracks_what_asks_for_it() -> None:
    manager, other = Manager(), Other()
    assert Manager.current() is None
    assert Manager.active_id() is None
    with manager.context():
        assert Manager.current() is manager
        assert Manager.active_id() == manager.id
        assert Other.current() is None
        with other.context():
            both = Pending(None, PendingTracker)
            one = Pending(None, (Manager,))
            none = Pending()
        assert manager.pending == {both, one}
        assert other.pending == {both}
        assert none.context is None
    assert Manager.current() is None
    both.set_result(1)
    one.cancel()
    assert manager.pending == other.pending == set()


def test_the_context_of_a_pending_knows_only_its_trackers() -> None:
    manager, other = Manager(), Other()
    with manager.context(), other.context():
        pen = Pending(None, Manager)
        assert pen.context.run(Manager.current) is manager
        assert pen.context.run(Other.current) is None
        # What is made in there follows.
        child = pen.context.run(Pending, None, PendingTracker)
        assert child in manager.pending
        assert child not in other.pending
        untracked = Pending(contextvars.copy_context())
        assert untracked.context.run(Manager.current) is None
        assert untracked not in manager.pending
    # A context that was copied earlier decides, not the current one.
    with manager.context():
        context = contextvars.copy_context()
    assert Pending(context, PendingTracker) in manager.pending


def test_the_last_manager_that_was_activated_counts() -> None:
    one, two = Manager(), Manager()
    assert one.id != two.id
    token = one.activate()
    inner = two.activate()
    pen = Pending(None, Manager)
    assert (pen in one.pending, pen in two.pending) == (False, True)
    two.deactivate(inner)
    assert Manager.current() is one
    one.deactivate(token)
    with pytest.raises(RuntimeError):
        one.deactivate(token)


def test_pendings_are_added_and_removed_by_hand() -> None:
    manager = Manager()
    pen = Pending()
    manager.add(pen)
    manager.add(pen)
    assert manager.pending == {pen}
    manager.remove(pen)
    manager.remove(pen)
    assert manager.pending == set()
    pen.set_result(1)
    manager.add(pen)
    assert manager.pending == set()


def test_each_kind_of_manager_has_a_context_variable_of_its_own() -> None:
    class Special(Manager):
        pass

    manager, special = Manager(), Special()
    token = manager.activate()
    assert Special.current() is None
    inner = special.activate()
    assert (Manager.current(), Special.current()) == (manager, special)
    with pytest.raises(ValueError, match="different ContextVar"):
        manager.deactivate(inner)
    assert Pending(None, Special) in special.pending
    special.deactivate(inner)
    manager.deactivate(token)


@pytest.mark.parametrize("kind", [PendingTracker, PendingManager])
def test_a_tracker_is_to_be_subclassed(kind: type) -> None:
    with pytest.raises(TypeError, match="make a subclass"):
        kind()


def test_a_context_keeps_no_tracker_alive() -> None:
    manager = Manager()
    reference = weakref.ref(manager)
    manager.activate()
    try:
        del manager
        assert reference() is None
        assert Manager.current() is None
        assert Pending(None, Manager).context.run(Manager.active_id) is None
    finally:
        Manager._active.set(None)


# -- no wake-up is lost -------------------------------------------------------------------------------------


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
