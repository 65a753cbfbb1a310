"""Makes a Caller for a new thread or for a running event loop, or finds the one that is there."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time

import pytest
from callboard import Caller, PendingCancelled
from caller_tools import PATIENCE, ended, library, run, run_program, stop
from event_loops import forever, sleep


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
            Caller(name="another")
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


def test_without_a_loop_there_is_no_caller() -> None:
    for modifier in ("CurrentThread", "MainThread"):
        with pytest.raises(RuntimeError, match=r"no event loop runs in MainThread.*NewThread"):
            Caller(modifier)  # type: ignore[arg-type]
    assert Caller.get_existing() is None
    assert Caller.current_pending() is None


def test_options_that_cannot_be_met_are_refused() -> None:
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
    assert caller.call_soon(sleep).wait_sync() is None
    pen = caller.call_soon(forever)
    pen.cancel()
    assert ended(pen).cancelled()
    stop(caller)


def test_a_program_without_trio() -> None:
    """In a process that has not imported trio."""
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
