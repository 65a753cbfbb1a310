"""Cancels calls: those end, and no others."""

from __future__ import annotations

import threading
import time

import pytest
from callboard import Caller, Pending, PendingCancelled
from caller_tools import PATIENCE, ended, library, run, spin
from event_loops import forever, skip_without_guest, sleep


@pytest.mark.parametrize("which", ["own", "guest", "worker"])
def test_a_coroutine_is_cancelled(caller: Caller, which: str) -> None:
    if which == "guest" and caller.backend == "trio":
        skip_without_guest("trio")
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
            await sleep(1000)
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
        await sleep()
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
            await sleep(1000)
        finally:
            if library() == "trio":
                import trio

                with trio.CancelScope(shield=True):
                    await sleep(0.01)
            else:
                await sleep(0.01)
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
        await sleep()
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


def test_a_cancellation_never_hits_another_call(caller: Caller) -> None:
    """Cancelling a call that waits, while another one computes in the same thread."""

    def compute() -> str:
        computes.set_result(None)
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            pass
        return "unharmed"

    for _ in range(5):
        computes = Pending()
        waiting = caller.call_soon(forever)
        computing = caller.call_soon(compute)
        computes.wait_sync()
        waiting.cancel()
        assert computing.wait_sync() == "unharmed"
        assert ended(waiting).cancelled()


def test_cancelling_1000_times_never_hits_the_loop(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    """Cancels at every moment of a call: before it, while it computes, at its end, after it."""
    # Other work of the loop, which must not notice.
    innocent = Pending()
    beats = [0]

    async def heart() -> int:
        while not innocent.done():
            beats[0] += 1
            await sleep(0.0001)
        return beats[0]

    heart_beats = caller.call_soon(heart)

    def short(n: int) -> int:
        return sum(range(n))

    async def steps(n: int) -> int:
        for _ in range(3):
            sum(range(n))
            await sleep()
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
        pen = caller.call_soon(forever)
        with pytest.raises(TimeoutError):
            await pen.wait(timeout=0.01)
        await pen.wait(result=False)
        assert pen.cancelled()

    run(loop, main)
