"""Children and workers of a Caller: made, found, used again and stopped with it."""

from __future__ import annotations

import threading

import pytest
from callboard import Caller, Pending
from caller_tools import PATIENCE, ended, library, spin, stop


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
    assert caller.get(name=unnamed.name) is not unnamed, "a generated name finds no Caller"
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


def test_the_pool_keeps_only_so_many_idle_workers(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
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
