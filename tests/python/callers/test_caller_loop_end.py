"""Callers whose event loop, thread or program ends: they stop, and their calls are cancelled or fail."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from callboard import Caller, PendingCancelled
from caller_tools import BACKENDS, PATIENCE, ended, library, run, run_program, run_until_stopped, spin, stop
from event_loops import forever, sleep
from support import FREE_THREADED


def test_the_end_of_the_loop_is_the_end_of_its_caller(loop: str) -> None:
    """A Caller that was not stopped ends with its loop."""
    if FREE_THREADED and loop == "asyncio":
        pytest.skip("asyncio.run waits at its end for tasks of other threads that compute: docs/free-threading.md")

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
        await sleep(0.01)

    async def cleans_up() -> None:
        try:
            await forever()
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
        ready = caller.call_soon(forever)
        await sleep(0.01)
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
        found.extend((Caller(), Caller().call_soon(forever)))
        await sleep(0.01)

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
        # In a process of its own: what is left of trio breaks trio in the test during which it is collected.
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
    waiting = caller.call_soon(forever)
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
    # What is left of trio warns when it is collected.
    gc.collect()


def test_exit_in_a_callback(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    def leave() -> None:
        raise SystemExit(1)

    def schedule() -> None:
        if caller.backend == "asyncio":
            asyncio.get_running_loop().call_soon(leave)
        else:
            caller.call_direct(leave)

    waiting = caller.call_soon(forever)
    caller.call_soon(schedule).wait_sync()
    assert caller.call_soon(lambda: 1).wait_sync(timeout=PATIENCE) == 1, "it ends nothing"
    assert not waiting.done()
    waiting.cancel()
    assert ended(waiting).cancelled()
    assert caplog.text


def test_exit_in_a_borrowed_loop() -> None:
    """There SystemExit ends the loop, as without a Caller."""
    found: list[Any] = []

    async def main() -> None:
        found.extend((Caller(), Caller().call_soon(forever), Caller().get()))
        await sleep(0.01)
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await forever()

    with pytest.raises(SystemExit):
        asyncio.run(main())
    caller, pen, child = found
    assert pen.cancelled()
    assert caller.stopped.done()
    assert child.stopped.done()


def test_tasks_of_a_loop_are_cancelled_at_its_end(backend: str) -> None:
    """Also tasks that no call has started."""
    caller = Caller("NewThread", backend=backend)
    cleaned: list[str] = []

    async def stray() -> None:
        try:
            await sleep(1000)
        finally:
            cleaned.append("stray")

    async def start() -> None:
        if library() == "trio":
            import trio

            trio.lowlevel.spawn_system_task(stray)
        else:
            tasks.append(asyncio.get_running_loop().create_task(stray()))
        await sleep(0.001)

    tasks: list[Any] = []
    caller.call_soon(start).wait_sync()
    stop(caller)
    assert cleaned == ["stray"]


def test_the_end_of_the_program() -> None:
    """Callers that were not stopped neither delay the exit nor print; their calls may clean up."""
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
