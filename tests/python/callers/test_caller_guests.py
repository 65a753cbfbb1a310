"""Calls code on the other backend, as a guest in the Caller's thread."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
from callboard import Caller, Pending
from caller_tools import BACKENDS, PATIENCE, library, run, run_program, stop
from event_loops import forever, needs_trio_asyncio, sleep

pytestmark = needs_trio_asyncio


def test_call_using_backend(caller: Caller) -> None:
    async def where(*args: Any) -> Any:
        await sleep(0.001)
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
    """Each waits for the other."""

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
        left.append(caller.call_using_backend("asyncio" if library() == "trio" else "trio", forever))
        await sleep(0.01)

    left: list[Pending] = []
    for _ in range(3):
        run(loop, main)
        assert left.pop().cancelled()


def test_a_guest_may_end_first_at_the_end_of_the_run(loop: str) -> None:
    async def main() -> None:
        caller = Caller()
        await caller.call_using_backend("asyncio" if library() == "trio" else "trio", library)
        # The end of its thread is waited for before the guest is asked to end, now shorter, now longer.
        await caller.to_thread(library)

    for _ in range(300):
        run(loop, main)


def test_the_end_of_a_guest(caller: Caller) -> None:
    """Running and queued calls are cancelled when the Caller stops."""
    other = "asyncio" if caller.backend == "trio" else "trio"
    begun = Pending()

    async def run() -> None:
        try:
            # Here, as the end may come as an interrupt of what follows this.
            begun.set_result(None)
            await sleep(1000)
        finally:
            finished.append(1)

    finished: list[int] = []
    running = caller.call_using_backend(other, run)
    begun.wait_sync()
    late = caller.call_using_backend(other, forever)
    stop(caller)
    assert running.cancelled()
    assert late.cancelled()
    assert finished == [1]


def test_a_guest_s_stray_task_does_no_harm(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
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
