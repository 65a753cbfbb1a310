"""Callers in any program: no kernel runs here."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from callboard import (
    Caller,
    Pending,
    PendingCancelled,
    PendingGroup,
    PendingManager,
    StartStopTask,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BACKENDS = ("asyncio", "trio")
LOOPS = ("asyncio", "uvloop", "trio")

#: How long anything may take, seconds. Generous: it is no measurement.
PATIENCE = 10.0


def run(loop: str, func: Callable[..., Any], *args: Any) -> Any:
    """Runs a coroutine function in an event loop of this thread, as a program does."""
    if loop == "trio":
        import trio

        return trio.run(func, *args)
    if loop == "uvloop":
        import uvloop

        return uvloop.run(func(*args))
    return asyncio.run(func(*args))


async def pause(seconds: float = 0) -> None:
    """Waits, on whatever loop runs."""
    if library() == "trio":
        import trio

        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


async def for_ever() -> None:
    await Pending()


def library() -> str | None:
    """The library whose loop runs the calling code."""
    sniffio = sys.modules.get("sniffio")
    name = None if sniffio is None else sniffio.thread_local.name
    return name or (None if asyncio._get_running_loop() is None else "asyncio")


def spin() -> None:
    """Computes until somebody interrupts it."""
    while True:
        pass


def ended(pen: Pending | None) -> Pending:
    """Waits for the end, whatever it is."""
    assert pen is not None
    pen.wait_sync(timeout=PATIENCE, result=False, protect=True)
    return pen


def stop(*callers: Caller) -> None:
    """Stops Callers, and waits until they have."""
    pens = [caller.stop(force=True) for caller in callers]
    for pen in pens:
        ended(pen)


def collected(*refs: weakref.ref) -> bool:
    """Whether these objects have gone, once garbage has been collected."""
    deadline = time.monotonic() + PATIENCE
    while any(ref() is not None for ref in refs):
        if time.monotonic() > deadline:
            return False
        gc.collect()
        time.sleep(0.001)
    return True


def run_program(code: str, *args: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Runs a Python program."""
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Each test stops its Callers."""
    yield
    left = Caller.all_callers()
    stop(*(caller for caller in left if caller.thread is not threading.current_thread()))
    assert left == []


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    """What the program runs."""
    return request.param


@pytest.fixture
def caller(backend: str) -> Iterator[Caller]:
    """A Caller with a thread of its own."""
    caller = Caller("NewThread", backend=backend)
    yield caller
    stop(caller)


# -- which Caller ---------------------------------------------------------------------------------------


def test_a_new_thread(backend: str) -> None:
    caller = Caller("NewThread", name="mine", backend=backend)
    try:
        assert caller.call_soon(threading.get_ident).wait_sync() == caller.id != threading.get_ident()
        assert caller.call_soon(Caller).wait_sync() is caller
        assert caller.call_soon(library).wait_sync() == caller.backend == backend
        assert caller.name == "mine"
        assert caller.thread is not None
        assert caller.thread.name == "mine"
        assert caller.thread.ident == caller.id
        assert caller.parent is None
        assert caller.children == set()
        assert caller.host is None
        assert caller.host_options is None
        assert Caller.get_existing(caller.id) is caller
        assert caller in Caller.all_callers()
        assert caller.started.done()
        assert not caller.stopping.done()
    finally:
        stop(caller)
    assert Caller.get_existing(caller.id) is None
    assert caller not in Caller.all_callers()
    assert not caller.thread.is_alive() or caller.thread.join(PATIENCE) is None


def test_a_new_thread_has_the_backend_of_the_loop_around(loop: str) -> None:
    async def main() -> None:
        async with Caller("NewThread") as caller:
            assert caller.backend == library()

    run(loop, main)
    caller = Caller("NewThread")
    assert caller.backend == "asyncio", "where no loop runs"
    stop(caller)


def test_the_loop_of_this_thread(loop: str) -> None:
    async def main() -> None:
        assert Caller.get_existing() is None
        caller = Caller()
        assert caller is Caller() is Caller("CurrentThread") is Caller("MainThread") is Caller.get_existing()
        assert caller.id == threading.get_ident() == Caller.id_current() == Caller.CALLER_MAIN_THREAD_ID
        assert caller.backend == library()
        assert caller.name == threading.current_thread().name
        assert caller.thread is threading.current_thread()
        assert caller.started.done()
        assert await caller.call_soon(lambda: threading.get_ident()) == caller.id
        assert await caller.call_soon(library) == caller.backend
        assert Caller(name=caller.name, backend=caller.backend) is caller
        with pytest.raises(ValueError, match="is called"):
            Caller(name="somebody else")
        other = "asyncio" if caller.backend == "trio" else "trio"
        with pytest.raises(ValueError, match="runs on"):
            Caller(backend=other)
        assert await caller.to_thread(Caller, "MainThread") is caller

    for _ in range(3):
        run(loop, main)
        assert Caller.get_existing() is None


def test_the_loop_of_another_thread(loop: str) -> None:
    found: list[Caller] = []

    async def main() -> None:
        caller = Caller(name="guest")
        found.append(caller)
        assert await caller.call_soon(lambda: 1) == 1
        assert await caller.to_thread(lambda: 2) == 2

    thread = threading.Thread(target=run, args=(loop, main))
    thread.start()
    thread.join(PATIENCE)
    (caller,) = found
    assert caller.name == "guest"
    assert caller.thread is thread
    assert caller.stopped.done()


def test_no_loop_no_caller() -> None:
    for modifier in ("CurrentThread", "MainThread"):
        with pytest.raises(RuntimeError, match=r"no event loop runs in MainThread.*NewThread"):
            Caller(modifier)  # type: ignore[arg-type]
    assert Caller.get_existing() is None
    assert Caller.current_pending() is None


def test_what_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"NewThraed.*NewThread"):
        Caller("NewThraed")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'curio' is not a backend: the backends are asyncio and trio"):
        Caller("NewThread", backend="curio")
    with pytest.raises(RuntimeError, match="no GUI event loop"):
        Caller("NewThread", host="qt")
    with pytest.raises(ValueError, match="'colour' is no option of asyncio: its options are debug"):
        Caller("NewThread", backend_options={"colour": "red"})
    with pytest.raises(ValueError, match="'use_uvloop' is no option of trio"):
        Caller("NewThread", backend="trio", backend_options={"use_uvloop": True})

    async def main() -> None:
        with pytest.raises(ValueError, match=r"asyncio's, not trio's"):
            Caller(backend="trio")

    asyncio.run(main())


def test_without_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio", None)
    missing = pytest.raises(RuntimeError, match=r"trio is not installed: .*pip install trio")
    with missing:
        Caller("NewThread", backend="trio")
    caller = Caller("NewThread")
    with missing:
        caller.get(backend="trio")
    with missing:
        caller.call_using_backend("trio", library)
    assert caller.call_soon(pause).wait_sync() is None
    pen = caller.call_soon(for_ever)
    pen.cancel()
    assert ended(pen).cancelled()
    stop(caller)


def test_a_program_without_trio() -> None:
    """In a process in which nobody has imported it."""
    code = """
import sys
sys.modules["trio"] = sys.modules["trio_asyncio"] = sys.modules["sniffio"] = None
import asyncio
from callboard import Caller, PendingCancelled

async def main():
    async with Caller() as caller:
        assert await caller.call_soon(lambda: 1) == 1
        assert await caller.to_thread(asyncio.sleep, 0, 2) == 2
        pen = caller.call_soon(asyncio.sleep, 1000)
        pen.cancel()
        await pen.wait(result=False)
        async with caller.create_pending_group():
            caller.call_soon(asyncio.sleep, 0)
        try:
            caller.call_using_backend("trio", print)
        except RuntimeError as error:
            print(error)

asyncio.run(main())
"""
    done = run_program(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pip install trio" in done.stdout


def test_trio_is_not_imported_before_it_is_needed() -> None:
    code = """
import asyncio, sys
from callboard import Caller
async def main():
    caller = Caller()
    await caller.call_soon(lambda: 1)
    await caller.to_thread(lambda: 1)
    async for pen in caller.as_completed([caller.call_later(0, lambda: 1)]): pass
asyncio.run(main())
print([name for name in ("trio", "trio_asyncio", "anyio", "aiologic", "IPython") if name in sys.modules])
"""
    done = run_program(code)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_without_trio_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio_asyncio", None)
    caller = Caller("NewThread", backend="trio")
    with pytest.raises(RuntimeError, match=r"needs trio-asyncio: .*pip install trio-asyncio"):
        caller.call_using_backend("asyncio", library)
    assert caller.call_using_backend("trio", library).wait_sync() == "trio"
    stop(caller)


def test_backend_options() -> None:
    def loop_type() -> str:
        return type(asyncio.get_running_loop()).__module__

    plain = Caller("NewThread", backend_options={"use_uvloop": False})
    fast = Caller("NewThread", backend_options={"use_uvloop": True})
    made = Caller("NewThread", backend_options={"loop_factory": "asyncio.SelectorEventLoop", "debug": True})
    default = Caller("NewThread")
    try:
        assert plain.call_soon(loop_type).wait_sync().startswith("asyncio")
        assert plain.backend_options == {"use_uvloop": False}
        assert fast.call_soon(loop_type).wait_sync() == default.call_soon(loop_type).wait_sync() == "uvloop"
        assert default.backend_options is None
        assert made.call_soon(loop_type).wait_sync().startswith("asyncio")
        assert made.call_soon(lambda: asyncio.get_running_loop().get_debug()).wait_sync()
        # Children have the options of their parent; another backend has none.
        assert plain.get().call_soon(loop_type).wait_sync().startswith("asyncio")
        assert plain.to_thread(loop_type).wait_sync().startswith("asyncio")
        assert plain.get(backend_options={"use_uvloop": True}).call_soon(loop_type).wait_sync() == "uvloop"
        assert made.get(name="x").backend_options == made.backend_options
        assert made.get(backend="trio").call_soon(library).wait_sync() == "trio"
    finally:
        stop(plain, fast, made, default)


def test_options_of_trio() -> None:
    import trio
    import trio.testing

    clock = trio.testing.MockClock(autojump_threshold=0)
    caller = Caller("NewThread", backend="trio", backend_options={"clock": clock})
    start = time.monotonic()
    caller.call_soon(trio.sleep, 1000).wait_sync()
    assert time.monotonic() - start < PATIENCE
    stop(caller)


def test_a_loop_that_cannot_be_made() -> None:
    def no_loop() -> None:
        raise OSError("no more loops")

    caller = Caller("NewThread", backend_options={"loop_factory": no_loop})
    pen = caller.call_soon(lambda: 1)
    with contextlib.suppress(PendingCancelled), pytest.raises(RuntimeError, match="no more loops"):
        ended(pen).result()
    ended(caller.stopped)
    assert caller.started.cancelled()


def test_no_debug(backend: str) -> None:
    caller = Caller("NewThread", backend=backend, no_debug=True)
    assert caller.thread.pydev_do_not_trace  # type: ignore[union-attr]
    stop(caller)


def test_repr() -> None:
    caller = Caller("NewThread", name="mine")
    ended(caller.started)
    assert repr(caller) == f"<Caller 'mine' running elsewhere backend=asyncio id={caller.id}>"
    assert " here " in caller.call_soon(repr, caller).wait_sync()
    child = caller.get()
    assert repr(caller).endswith(" 1 child>")
    caller.protected = True
    assert " protected " in repr(caller)
    stop(child)
    stop(caller)
    assert " stopped " in repr(caller)


# -- calls ----------------------------------------------------------------------------------------------


def test_call_soon(caller: Caller) -> None:
    def sync(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        await pause()
        return args, kwargs

    for func in (sync, coroutine, lambda *args, **kwargs: coroutine(*args, **kwargs)):
        for call in (caller.call_soon, lambda *args, **kwargs: caller.call_later(0, *args, **kwargs), caller.to_thread):
            assert call(func, 1, None, func=2, self=3).wait_sync() == ((1, None), {"func": 2, "self": 3})


def test_what_fails(caller: Caller) -> None:
    class Broken(BaseException):
        pass

    async def later(error: BaseException) -> None:
        await pause()
        raise error

    def now(error: BaseException) -> None:
        raise error

    # Also what would end a program: it goes to whoever waits.
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
        await pause()
        raise ValueError

    error = ended(caller.call_soon(broken)).exception()
    assert error is not None
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code is broken.__code__


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
    """On asyncio, calls begin in the order in which they were made. trio sees to it that nobody counts on that."""
    caller = Caller("NewThread")
    order: list[int] = []
    pens = []
    for n in range(1000):
        if n % 3:
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
        pen = caller.schedule_call(for_ever, (), {}, None, Mine)
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
        return await caller.call_soon(pause) or await caller.call_soon(lambda: 5)

    assert run(loop, main) == 5


def test_calls_of_each_other(backend: str) -> None:
    one, other = Caller("NewThread", backend=backend), Caller("NewThread", backend="asyncio")

    async def down(n: int) -> int:
        return 0 if n == 0 else 1 + await (other if Caller() is one else one).call_soon(down, n - 1)

    try:
        assert one.call_soon(down, 50).wait_sync() == 50
    finally:
        stop(one, other)


# -- cancellation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["own", "guest", "worker"])
def test_a_coroutine_is_cancelled(caller: Caller, which: str) -> None:
    other = "asyncio" if caller.backend == "trio" else "trio"
    call = {
        "own": caller.call_soon,
        "guest": lambda func: caller.call_using_backend(other, func),
        "worker": caller.to_thread,
    }[which]
    seen: list[str] = []

    async def wait_for_ever() -> None:
        waits.set_result(None)
        try:
            await pause(1000)
        except BaseException as error:
            seen.append(type(error).__name__)
            raise
        finally:
            seen.append("finally")

    for message in ("enough", None):
        waits = Pending()
        pen = call(wait_for_ever)
        waits.wait_sync()
        assert pen.cancel(message)
        with pytest.raises(PendingCancelled, match=message):
            pen.wait_sync()
        assert seen.pop() == "finally"
        assert seen.pop() in ("Cancelled", "CancelledError")
    assert call(lambda: 1).wait_sync() == 1


def test_a_call_that_has_not_begun_is_cancelled(caller: Caller) -> None:
    go, called = threading.Event(), []
    first = caller.call_soon(go.wait)
    pen = caller.call_soon(called.append, 1)
    pen.cancel()
    assert pen.done()
    go.set()
    first.wait_sync()
    assert caller.call_soon(lambda: 2).wait_sync() == 2
    assert called == []


def test_cancelling_from_the_call_itself(caller: Caller) -> None:
    async def suicide() -> None:
        me = Caller.current_pending()
        assert me is not None
        me.cancel("had enough")
        await pause()
        raise AssertionError("not reached")

    def late() -> int:
        me = Caller.current_pending()
        assert me is not None
        me.cancel("too late")
        return 1

    for func, message in ((suicide, "had enough"), (late, "too late")):
        with pytest.raises(PendingCancelled, match=message):
            caller.call_soon(func).wait_sync()


def test_cancelled_code_may_clean_up(caller: Caller) -> None:
    cleaned = []

    async def main() -> None:
        waits.set_result(None)
        try:
            await pause(1000)
        finally:
            if library() == "trio":
                import trio

                with trio.CancelScope(shield=True):
                    await pause(0.01)
            else:
                await pause(0.01)
            cleaned.append(1)

    waits = Pending()
    pen = caller.call_soon(main)
    waits.wait_sync()
    pen.cancel()
    assert pen.cancelled()
    assert not pen.done() or cleaned
    ended(pen)
    assert cleaned == [1]


def test_a_function_that_computes_is_cancelled(caller: Caller) -> None:
    def compute() -> None:
        begun.set_result(threading.get_ident())
        spin()

    async def compute_in_a_coroutine() -> None:
        await pause()
        compute()

    for call in (caller.call_soon, caller.to_thread):
        for func in (compute, compute_in_a_coroutine):
            begun = Pending()
            pen = call(func)
            thread = begun.wait_sync()
            pen.cancel("it takes too long")
            with pytest.raises(PendingCancelled, match="it takes too long"):
                pen.wait_sync(timeout=PATIENCE)
            assert call(threading.get_ident).wait_sync(timeout=PATIENCE) == thread, "the thread is there for more"


def test_a_blocking_call_ends_first(caller: Caller) -> None:
    def block() -> None:
        begun.set_result(None)
        go.wait()
        after.append(1)

    for _ in range(3):
        begun, go, after = Pending(), threading.Event(), []
        pen = caller.call_soon(block)
        begun.wait_sync()
        pen.cancel()
        assert not pen.done()
        go.set()
        assert ended(pen).cancelled()
        assert caller.call_soon(lambda: 1).wait_sync() == 1


def test_a_cancellation_that_is_swallowed(caller: Caller) -> None:
    def stubborn() -> int:
        begun.set_result(None)
        try:
            spin()
        except KeyboardInterrupt:
            swallowed.set_result(None)
        try:
            spin()
        except KeyboardInterrupt:
            return 1
        return 2

    begun, swallowed = Pending(), Pending()
    pen = caller.call_soon(stubborn)
    begun.wait_sync()
    pen.cancel()
    swallowed.wait_sync()
    pen.cancel()
    assert ended(pen).cancelled(), "a cancellation cannot be undone"


def test_the_wrong_one_is_never_hit(caller: Caller) -> None:
    """Cancelling a call that waits, while another one computes in the same thread."""

    def compute() -> str:
        computes.set_result(None)
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            pass
        return "unharmed"

    for _ in range(5):
        computes = Pending()
        waiting = caller.call_soon(for_ever)
        computing = caller.call_soon(compute)
        computes.wait_sync()
        waiting.cancel()
        assert computing.wait_sync() == "unharmed"
        assert ended(waiting).cancelled()


def test_cancelling_1000_times_never_hits_the_loop(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    """At any moment of a call: before it, while it computes, at its end, after it."""
    # Other work of the loop, which must not notice.
    innocent = Pending()
    beats = [0]

    async def heart() -> int:
        while not innocent.done():
            beats[0] += 1
            await pause(0.0001)
        return beats[0]

    heart_beats = caller.call_soon(heart)

    def short(n: int) -> int:
        return sum(range(n))

    async def steps(n: int) -> int:
        for _ in range(3):
            sum(range(n))
            await pause()
        return n

    cancelled = 0
    for n in range(1000):
        func = (short, steps, spin)[n % 3]
        pen = caller.call_soon(func, *(() if func is spin else (n * 7 % 3000,)))
        until = time.perf_counter() + n % 50 * 20e-6
        while time.perf_counter() < until:
            pass
        pen.cancel()
        cancelled += ended(pen).cancelled()
        assert pen.cancelled() or func is not spin
    assert cancelled >= 333
    assert not heart_beats.done()
    innocent.set_result(None)
    assert heart_beats.wait_sync(timeout=PATIENCE) == beats[0]
    assert caller.call_soon(lambda: 1).wait_sync(timeout=PATIENCE) == 1
    assert not caller.stopping.done()
    assert caplog.text == ""


def test_the_waiter_s_cancellation_is_the_call_s(caller: Caller, loop: str) -> None:
    async def main() -> None:
        pen = caller.call_soon(for_ever)
        with pytest.raises(TimeoutError):
            await pen.wait(timeout=0.01)
        await pen.wait(result=False)
        assert pen.cancelled()

    run(loop, main)


# -- the other backend ----------------------------------------------------------------------------------


def test_call_using_backend(caller: Caller) -> None:
    async def where(*args: Any) -> Any:
        await pause(0.001)
        return library(), threading.get_ident(), *args

    for name in BACKENDS:
        assert caller.call_using_backend(name, where, 1).wait_sync() == (name, caller.id, 1)
        assert caller.call_using_backend(name, library).wait_sync() == name
        assert caller.call_using_backend(name, Caller).wait_sync() is caller
        with pytest.raises(ZeroDivisionError):
            caller.call_using_backend(name, lambda: 1 / 0).wait_sync()
    with pytest.raises(ValueError, match="not a backend"):
        caller.call_using_backend("curio", where)


def test_both_backends_at_once(caller: Caller) -> None:
    """They wait for each other."""

    async def ping(name: str, mine: list[Pending], others: list[Pending]) -> str:
        for one, other in zip(mine, others, strict=True):
            one.set_result(name)
            assert await other != name
        return name

    a, b = [Pending() for _ in range(200)], [Pending() for _ in range(200)]
    pens = [
        caller.call_using_backend("asyncio", ping, "asyncio", a, b),
        caller.call_using_backend("trio", ping, "trio", b, a),
    ]
    assert [pen.wait_sync(timeout=PATIENCE) for pen in pens] == ["asyncio", "trio"]


def test_a_guest_calls_back(caller: Caller) -> None:
    other = "asyncio" if caller.backend == "trio" else "trio"

    async def inner() -> Any:
        return library(), await Caller().call_soon(library), await Caller().to_thread(library)

    assert caller.call_using_backend(other, inner).wait_sync() == (other, caller.backend, caller.backend)


def test_guests_in_loops_of_a_program(loop: str) -> None:
    async def main() -> None:
        caller = Caller()
        pens = [caller.call_using_backend(name, library) for name in BACKENDS * 3]
        assert [await pen for pen in pens] == [*BACKENDS * 3]
        # Is left running: the end of the loop cancels it.
        left.append(caller.call_using_backend("asyncio" if library() == "trio" else "trio", for_ever))
        await pause(0.01)

    left: list[Pending] = []
    for _ in range(3):
        run(loop, main)
        assert left.pop().cancelled()


def test_the_end_of_a_guest(caller: Caller) -> None:
    """What runs there, and what is about to, is cancelled when the Caller stops."""
    other = "asyncio" if caller.backend == "trio" else "trio"
    begun = Pending()

    async def run() -> None:
        begun.set_result(None)
        try:
            await pause(1000)
        finally:
            finished.append(1)

    finished: list[int] = []
    running = caller.call_using_backend(other, run)
    begun.wait_sync()
    late = caller.call_using_backend(other, for_ever)
    stop(caller)
    assert running.cancelled()
    assert late.cancelled()
    assert finished == [1]


def test_a_guest_s_stray_task_harms_nobody(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    if caller.backend == "asyncio":
        pytest.skip("a trio task cannot be left alone")

    async def leave_a_task_behind() -> None:
        async def broken() -> None:
            raise ValueError("stray")

        task = asyncio.get_running_loop().create_task(broken())
        await asyncio.sleep(0)
        del task
        gc.collect()

    caller.call_using_backend("asyncio", leave_a_task_behind).wait_sync()
    assert caller.call_using_backend("asyncio", library).wait_sync() == "asyncio"


def test_a_guest_changes_nothing_for_others() -> None:
    """trio-asyncio replaces asyncio's loops by its own, for the whole process, unless it is kept from that."""
    code = """
import asyncio, threading
from callboard import Caller
caller = Caller("NewThread", backend="trio")
caller.call_using_backend("asyncio", lambda: 1).wait_sync()
async def main():
    return type(asyncio.get_running_loop()).__module__
print(asyncio.run(main()))
thread = threading.Thread(target=lambda: print(asyncio.run(main())))
thread.start()
thread.join()
for use_uvloop in (False, None):
    other = Caller("NewThread", backend_options={"use_uvloop": use_uvloop})
    print(other.call_soon(main).wait_sync())
print(caller.call_using_backend("asyncio", main).wait_sync())
"""
    done = run_program(code)
    assert done.stderr == ""
    *plain, guest = done.stdout.split()
    assert guest.startswith("trio_asyncio")
    assert len(plain) == 4
    assert not any(module.startswith("trio") for module in plain)


# -- children and workers -------------------------------------------------------------------------------


def test_get(caller: Caller) -> None:
    child = caller.get(name="child")
    assert caller.get(name="child") is child
    assert child.parent is caller
    assert child.backend == caller.backend
    assert child.name == "child"
    assert child.call_soon(lambda: Caller().name).wait_sync() == "child"
    unnamed = caller.get()
    assert unnamed is not caller.get()
    assert caller.get(name="") is not caller.get(name="")
    assert caller.get(name=unnamed.name) is not unnamed, "a name that nobody gave finds nobody"
    other = "asyncio" if caller.backend == "trio" else "trio"
    foreign = caller.get(name="foreign", backend=other)
    assert foreign.call_soon(library).wait_sync() == other
    assert caller.get(name="foreign") is foreign
    assert caller.get(name="child", backend=caller.backend) is child
    with pytest.raises(RuntimeError, match=f"child.* runs on {caller.backend}, not on {other}"):
        caller.get(name="child", backend=other)
    with pytest.raises(ValueError, match="not a backend"):
        caller.get(backend="curio")
    grandchild = child.get(name="child")
    assert grandchild is not child
    assert grandchild.parent is child
    assert grandchild not in caller.children
    assert {child, unnamed, foreign} < caller.children


def test_get_from_8_threads_makes_one(caller: Caller) -> None:
    for n in range(20):
        barrier = threading.Barrier(8)
        found: list[Caller] = []

        def get(n: int = n, barrier: threading.Barrier = barrier, found: list[Caller] = found) -> None:
            barrier.wait()
            found.append(caller.get(name=f"child {n}"))

        threads = [threading.Thread(target=get) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(found) == 8
        assert len(set(found)) == 1
        assert found[0].call_soon(lambda: 1).wait_sync() == 1


def test_a_child_that_stops_is_not_found(caller: Caller) -> None:
    for _ in range(20):
        child = caller.get(name="child")
        go = threading.Event()
        busy = child.call_soon(go.wait)
        child.stop()
        other = caller.get(name="child")
        assert other is not child
        assert child not in caller.children
        assert other.call_soon(lambda: 1).wait_sync() == 1
        go.set()
        ended(busy)
        stop(other, child)


def test_children_stop_with_their_parent(caller: Caller) -> None:
    child = caller.get(name="a", backend="asyncio")
    family = [child, caller.get(), child.get(), child.get(backend="trio"), child.get().get()]
    worker = caller.to_thread(Caller).wait_sync()
    computing = [member.call_soon(spin) for member in family]
    stop(caller)
    for member in (*family, worker):
        assert member.stopped.done()
        assert member.children == set()
    assert all(pen.cancelled() for pen in computing)
    with pytest.raises(RuntimeError, match="is stopping: it takes no more children"):
        caller.get()
    with pytest.raises(RuntimeError, match="is stopping: it takes no more children"):
        caller.to_thread(print)


def test_workers_are_used_again(caller: Caller) -> None:
    idents = {caller.to_thread(threading.get_ident).wait_sync() for _ in range(20)}
    assert len(idents) == 1
    assert idents != {caller.id}
    barrier = threading.Barrier(3)
    pens = [caller.to_thread(barrier.wait) for _ in range(3)]
    for pen in pens:
        pen.wait_sync()
    assert len(caller.children) == 3
    (worker,) = {Caller.get_existing(ident) for ident in idents}
    assert worker is not None
    assert worker.parent is caller
    assert worker.backend == caller.backend


def test_a_worker_that_was_stopped_is_not_used(caller: Caller) -> None:
    for _ in range(20):
        worker = caller.to_thread(Caller).wait_sync()
        worker.stop()
        assert caller.to_thread(Caller).wait_sync(timeout=PATIENCE) is not worker
    assert len(caller.children) == 1


def test_the_pool_keeps_so_many(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Caller, "MAX_IDLE_POOL_INSTANCES", 2)
    barrier = threading.Barrier(5)
    pens = [caller.to_thread(lambda: (barrier.wait() and None) or Caller()) for _ in range(5)]
    workers = {pen.wait_sync() for pen in pens}
    assert len(workers) == 5
    assert len(caller.children) == 2
    for worker in workers - caller.children:
        ended(worker.stopped)
    assert {caller.to_thread(Caller).wait_sync() for _ in range(5)} <= caller.children


def test_an_idle_worker_stops(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Caller, "IDLE_WORKER_SHUTDOWN_DURATION", 0.05)
    for _ in range(3):
        worker = caller.to_thread(Caller).wait_sync()
        assert caller.to_thread(Caller).wait_sync() is worker
        ended(worker.stopped)
        assert caller.children == set()
    monkeypatch.setattr(Caller, "IDLE_WORKER_SHUTDOWN_DURATION", 0)
    worker = caller.to_thread(Caller).wait_sync()
    assert not worker.stopping.done()


def test_a_worker_is_busy_until_its_call_has_ended(caller: Caller) -> None:
    """Also if that has been cancelled: what blocks goes on."""
    go = threading.Event()
    begun = Pending()
    blocked = caller.to_thread(lambda: (begun.set_result(Caller()), go.wait()))
    worker = begun.wait_sync()
    blocked.cancel()
    assert caller.to_thread(Caller).wait_sync() is not worker
    go.set()
    ended(blocked)


# -- the end --------------------------------------------------------------------------------------------


def test_stop(caller: Caller) -> None:
    waiting = caller.call_soon(for_ever)
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


def test_what_computes_ends_when_the_caller_stops(caller: Caller) -> None:
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
        pens = [caller.call_soon(func) for func in (lambda: 1, for_ever, spin)[: n % 4]]
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
        await pause(1000)
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
            waiting = caller.call_soon(for_ever)
            await pause(0.001)
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
    """The last one to leave stops it, and the first one waits for that."""

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
    """Whoever is inside first ends it when he leaves; the other one is cancelled."""

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
            await for_ever()

    entered = Pending()
    assert caller.call_soon(first).wait_sync(timeout=PATIENCE) == "first"
    ended(caller.stopped)


def test_the_end_of_the_loop_is_the_end_of_its_caller(loop: str) -> None:
    """Nobody has stopped it."""

    async def main() -> None:
        caller = Caller()
        found.update(
            caller=caller,
            child=caller.get(name="child"),
            worker=await caller.to_thread(Caller),
            waiting=caller.call_soon(cleans_up),
            elsewhere=caller.to_thread(spin),
            task=caller.create_start_stop_task(run_until_stopped).start(),
        )
        caller.queue_call(print, end="")
        await found["task"].started
        await pause(0.01)

    async def cleans_up() -> None:
        try:
            await for_ever()
        finally:
            cleaned.append(library())

    cleaned: list[Any] = []
    found: dict[str, Any] = {}
    for _ in range(3):
        run(loop, main)
        assert found["waiting"].cancelled()
        assert cleaned.pop() is not None
        assert found["elsewhere"].cancelled()
        assert found["task"].stopping.done()
        assert found["task"].stopped.done()
        for name in ("caller", "child", "worker"):
            assert found[name].stopped.done(), name
        assert found["caller"].call_soon(print).cancelled()


def test_a_loop_that_is_closed_under_its_caller(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    if loop == "trio":
        pytest.skip("a trio run ends in one way only")
    if loop == "uvloop":
        import uvloop

        new_loop = uvloop.new_event_loop
    else:
        new_loop = asyncio.new_event_loop

    async def main() -> tuple[Any, ...]:
        caller = Caller()
        child = caller.get()
        ready = caller.call_soon(for_ever)
        await pause(0.01)
        return caller, child, ready

    gc.collect()
    own = new_loop()
    caller, child, pen = own.run_until_complete(main())
    waiter = threading.Thread(target=pen.wait_sync, kwargs={"timeout": PATIENCE, "result": False})
    waiter.start()
    queued = caller.call_soon(lambda: 1)
    assert caller is Caller(), "between two runs of its loop"
    assert not queued.done()
    own.run_until_complete(asyncio.sleep(0.001))
    assert queued.done()
    queued = caller.call_soon(lambda: 1)
    own.close()
    waiter.join(PATIENCE)
    assert not waiter.is_alive()
    for left in (pen, queued):
        with pytest.raises((RuntimeError, PendingCancelled), match="its event loop was closed"):
            ended(left).result()
    assert caller.stopped.done()
    ended(child.stopped)
    assert "its event loop was closed" in caplog.text
    assert Caller.get_existing() is None
    del own, caller, pen, left, queued
    gc.collect()


def test_a_loop_that_is_left_for_another_one() -> None:
    async def main() -> Caller:
        assert await Caller().call_soon(lambda: 1) == 1
        return Caller()

    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    one = first.run_until_complete(main())
    other = second.run_until_complete(main())
    assert one is not other
    assert one.stopped.done()
    pen = one.call_soon(print)
    assert pen.done()
    for each in (first, second):
        for task in asyncio.all_tasks(each):
            task.cancel()
        each.run_until_complete(asyncio.sleep(0.01))
        each.close()
    assert other.stopped.done()


def test_a_thread_that_ends_and_leaves_its_loop_open(caplog: pytest.LogCaptureFixture) -> None:
    found: list[Any] = []

    async def main() -> None:
        found.extend((Caller(), Caller().call_soon(for_ever)))
        await pause(0.01)

    def target() -> None:
        loops.append(asyncio.new_event_loop())
        loops[0].run_until_complete(main())

    loops: list[Any] = []
    thread = threading.Thread(target=target)
    thread.start()
    thread.join(PATIENCE)
    caller, pen = found
    ended(caller.stopped)
    with pytest.raises(RuntimeError, match="its thread has ended"):
        ended(pen).result()
    assert "its thread has ended" in caplog.text
    loops[0].close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_thread_that_is_killed(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    import ctypes

    if backend == "trio" and "TEST_ALONE" not in os.environ:
        # In a process of its own: what is left of trio breaks that of whatever test it is collected in.
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        command = [sys.executable, "-m", "pytest", "-q", f"{__file__}::test_a_thread_that_is_killed[trio]"]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider"],
            env=env | {"TEST_ALONE": "1"},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout
        assert "1 passed" in done.stdout
        return

    # uvloop's loop lives in C, where nothing can be raised.
    options = {"use_uvloop": False} if backend == "asyncio" else None
    caller = Caller("NewThread", backend=backend, backend_options=options)

    class Killed(BaseException):
        pass

    child = caller.get()
    worker = caller.to_thread(Caller).wait_sync()
    waiting = caller.call_soon(for_ever)
    caller.call_soon(lambda: 1).wait_sync()
    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert set_exception(ctypes.c_ulong(caller.id), ctypes.py_object(Killed)) == 1
    caller.call_direct(lambda: None)
    with pytest.raises((RuntimeError, PendingCancelled), match="Killed"):
        ended(waiting).result()
    for each in (caller, child, worker):
        ended(each.stopped)
    assert caller.stopping.done()
    with pytest.raises((RuntimeError, PendingCancelled), match="Killed"):
        caller.call_soon(print).result()
    assert "has ended" in caplog.text
    del waiting
    # What is left of trio is loud when it goes.
    gc.collect()


def test_exit_in_a_callback(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    def leave() -> None:
        raise SystemExit(1)

    def schedule() -> None:
        if caller.backend == "asyncio":
            asyncio.get_running_loop().call_soon(leave)
        else:
            caller.call_direct(leave)

    waiting = caller.call_soon(for_ever)
    caller.call_soon(schedule).wait_sync()
    assert caller.call_soon(lambda: 1).wait_sync(timeout=PATIENCE) == 1, "it ends nothing"
    assert not waiting.done()
    waiting.cancel()
    assert ended(waiting).cancelled()
    assert caplog.text


def test_exit_in_a_borrowed_loop() -> None:
    """There it ends the loop, as ever."""
    found: list[Any] = []

    async def main() -> None:
        found.extend((Caller(), Caller().call_soon(for_ever), Caller().get()))
        await pause(0.01)
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await for_ever()

    with pytest.raises(SystemExit):
        asyncio.run(main())
    caller, pen, child = found
    assert pen.cancelled()
    assert caller.stopped.done()
    assert child.stopped.done()


def test_tasks_of_a_loop_are_cancelled_at_its_end(backend: str) -> None:
    """Also those that are no calls."""
    caller = Caller("NewThread", backend=backend)
    cleaned: list[str] = []

    async def stray() -> None:
        try:
            await pause(1000)
        finally:
            cleaned.append("stray")

    async def start() -> None:
        if library() == "trio":
            import trio

            trio.lowlevel.spawn_system_task(stray)
        else:
            tasks.append(asyncio.get_running_loop().create_task(stray()))
        await pause(0.001)

    tasks: list[Any] = []
    caller.call_soon(start).wait_sync()
    stop(caller)
    assert cleaned == ["stray"]


def test_the_end_of_the_program() -> None:
    """Callers that nobody has stopped do not hold it up, nor make a noise; what runs there may clean up."""
    code = """
import asyncio, sys, threading, time
from callboard import Caller, Pending
backend = sys.argv[1]
one, two, three = (Caller("NewThread", backend=backend) for _ in range(3))
begun = [Pending(), Pending(), Pending()]
async def clean_up():
    begun[0].set_result(None)
    try:
        await Pending()
    finally:
        print("cleaned up", flush=True)
def compute():
    begun[1].set_result(None)
    while True:
        pass
def block():
    begun[2].set_result(None)
    time.sleep(1000)
one.call_soon(clean_up)
two.call_soon(compute)
three.call_soon(block)
for pen in begun:
    pen.wait_sync()
print("end")
"""
    for backend in BACKENDS:
        done = run_program(code, backend)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.split("\n") == ["end", "cleaned up", ""]


# -- queues ---------------------------------------------------------------------------------------------


def test_queue_call(caller: Caller) -> None:
    results: list[Any] = []
    done = Pending()

    async def work(n: int, *, last: int) -> None:
        await pause(0.001 if n % 3 else 0)
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
        await pause()
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


def test_a_function_that_nobody_else_refers_to_is_called(caller: Caller) -> None:
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
        await for_ever()

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


# -- many at once ---------------------------------------------------------------------------------------


async def number(n: int, seconds: float = 0) -> int:
    await pause(seconds)
    return n


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
                await pause()
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
        # What is there already needs no limit.
        assert (await count(list(items(5)), max_concurrent=1))[0] == 5

    run(loop, main)


def test_as_completed_cancels_what_is_unfinished(loop: str) -> None:
    async def main() -> None:
        caller = Caller()
        for cancels in (True, False):
            for kind in (list, iter):
                pens = [Pending(), *(caller.to_thread(for_ever) for _ in range(3))]
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


def test_more_of_wait(loop: str) -> None:
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
        await pause(0.001)
        await waiting.cancel_wait()
        assert not any(pen.cancelled() for pen in pens)
        # With shield it goes on.
        waiting = caller.call_soon(caller.wait, pens, shield=True)
        await pause(0.001)
        waiting.cancel()
        await pause(0.001)
        assert not waiting.done()
        for pen in pens:
            pen.set_result(None)
        await waiting.wait(result=False)

    run(loop, main)


def test_groups(loop: str) -> None:
    async def main() -> None:
        caller = Caller()
        other = "asyncio" if library() == "trio" else "trio"
        async with caller.create_pending_group() as group:
            pens = {
                caller.call_soon(number, 1, 0.005),
                caller.call_later(0.001, lambda: 2),
                caller.to_thread(number, 3),
                caller.call_using_backend(other, number, 4, 0.001),
                group.caller.call_soon(lambda: 5),
            }
            assert group.caller is caller
            assert pens == group.pending
            items = caller.as_completed(caller.call_soon(number, n) for n in (6, 7))
            assert {pen.result() async for pen in items} == {6, 7}
        assert {pen.result() for pen in pens} == {1, 2, 3, 4, 5}
        with pytest.raises(BaseExceptionGroup):
            async with caller.create_pending_group(mode=1):
                waiting = caller.to_thread(for_ever)
                caller.call_soon(lambda: 1 / 0)
        assert waiting.cancelled()
        with pytest.raises(PendingCancelled):
            async with caller.create_pending_group(mode=3, timeout=0.01):
                await pause(1000)

    run(loop, main)


# -- tasks that are told to stop ------------------------------------------------------------------------


async def run_until_stopped(started: Callable[[], None], stop: Pending) -> str:
    started()
    await stop
    await pause(0.001)
    return "stopped"


def test_start_stop_task(caller: Caller) -> None:
    seen: list[Any] = []

    async def work(started: Callable[[], None], stop: Pending, *args: Any, **kwargs: Any) -> str:
        seen.append((args, kwargs, threading.get_ident()))
        await pause()
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
        await pause(0.005)
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
                await for_ever()
        with pytest.raises(ZeroDivisionError):
            async with caller.create_start_stop_task(fails).start():
                await for_ever()
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
            await pause(0.001)
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


# -- a lot ----------------------------------------------------------------------------------------------


def test_10_000_calls_from_8_threads() -> None:
    """To both backends, their guests and their workers; nothing is lost, and nothing waits for the next one."""
    callers = [Caller("NewThread", backend=backend) for backend in BACKENDS]
    failures: list[Any] = []

    def calls(thread: int) -> None:
        try:
            for n in range(1250):
                caller = callers[n % 2]
                key = thread * 10_000 + n
                match n % 10:
                    case 0:
                        pen = caller.to_thread(number, key)
                    case 1:
                        pen = caller.call_using_backend(callers[(n + 1) % 2].backend, number, key)
                    case 2 | 3:
                        pen = caller.call_soon(number, key)
                    case 4:
                        pen = caller.call_later(0.0001, number, key)
                    case 5:
                        pen = Pending()
                        caller.call_direct(pen.set_result, key)
                    case 6:
                        pen = Pending()
                        caller.queue_call(complete, pen, key)
                    case _:
                        pen = caller.call_soon(lambda key=key: key)
                if (result := pen.wait_sync(timeout=PATIENCE)) != key:
                    failures.append((key, result))
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    def complete(pen: Pending, key: int) -> None:
        pen.set_result(key)

    threads = [threading.Thread(target=calls, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
        assert not thread.is_alive()
    assert failures == []
    stop(*callers)


def test_10_000_calls_at_once(caller: Caller, loop: str) -> None:
    async def main() -> None:
        mine = Caller()
        pens = [(caller, mine)[n % 2].call_soon(lambda n=n: n) for n in range(10_000)]
        _done, pending = await mine.wait(pens, timeout=PATIENCE)
        assert not pending
        assert [pen.result() for pen in pens] == list(range(10_000))

    run(loop, main)


def resources() -> tuple[int, int, int]:
    """Threads, descriptors and memory (KiB) of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return (
        len(os.listdir("/proc/self/task")),
        len(os.listdir("/proc/self/fd")),
        pages * os.sysconf("SC_PAGESIZE") // 1024,
    )


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux' /proc")
def test_200_callers_20_times() -> None:
    """Made by name, used, and stopped: no thread, no descriptor, no object and next to no memory is left."""

    def once() -> list[weakref.ref]:
        parents = [Caller("NewThread", name=f"parent {backend}", backend=backend) for backend in BACKENDS]
        children = [parent.get(name=f"child {n}") for n in range(99) for parent in parents]
        pens = [child.call_soon(number, n) for n, child in enumerate(children)]
        for n, pen in enumerate(pens):
            assert pen.wait_sync(timeout=PATIENCE) == n
        left = [child.call_soon(for_ever) for child in children[::10]]
        stop(*children[::2])
        stop(*parents)
        assert all(pen.cancelled() for pen in left)
        for caller in (*parents, *children):
            assert caller.stopped.done()
            assert caller.thread is not None
            caller.thread.join(PATIENCE)
        return [weakref.ref(caller) for caller in (*parents, *children)]

    for _ in range(4):
        once()
    gc.collect()
    threads, descriptors, memory = resources()
    for _ in range(20):
        refs = once()
        assert collected(*refs)
    deadline = time.monotonic() + PATIENCE
    # The actors close their descriptors a moment later.
    while (now := resources())[:2] > (threads, descriptors) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert now[0] <= threads
    assert now[1] <= descriptors
    assert now[2] < memory + 40 * 1024


def test_a_stopped_caller_that_is_kept_costs_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    callers = [Caller("NewThread") for _ in range(50)]
    stop(*callers)
    deadline = time.monotonic() + PATIENCE
    while len(os.listdir("/proc/self/fd")) > before + 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before + 5
    assert callers[0].call_soon(print).cancelled()


def test_logs_are_quiet(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for call in (caller.call_soon, caller.to_thread):
        pens = [call(for_ever), call(lambda: 1 / 0), call(number, 1)]
        pens[0].cancel()
        for pen in pens:
            ended(pen)
    stop(caller)
    assert caplog.records == []
