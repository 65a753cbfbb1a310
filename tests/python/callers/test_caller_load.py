"""Thousands of calls and Callers: none is lost, and no thread, descriptor or memory is left."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from callboard import Caller, Pending
from caller_tools import BACKENDS, PATIENCE, collected, ended, number, run, stop
from event_loops import forever, needs_trio_asyncio
from support import FREE_THREADED


@needs_trio_asyncio
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
        left = [child.call_soon(forever) for child in children[::10]]
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
    # Without the GIL, each thread has a heap of its own, which the next one takes over.
    assert now[2] < memory + (80 if FREE_THREADED else 40) * 1024


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
        pens = [call(forever), call(lambda: 1 / 0), call(number, 1)]
        pens[0].cancel()
        for pen in pens:
            ended(pen)
    stop(caller)
    assert caplog.records == []
