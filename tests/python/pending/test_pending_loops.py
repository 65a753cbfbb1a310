"""Waits in several event loops of one thread, and in loops that end or are dropped."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from callboard.aio import wakeups
from callboard.aio.pending import Pending
from event_loops import (
    RUNNERS,
    all_of,
    asyncio_in_trio,
    needs_trio_asyncio,
    run_asyncio,
    run_trio,
    run_uvloop,
    sleep,
    trio_in_asyncio,
)
from other_threads import InThread, in_thread

if TYPE_CHECKING:
    from event_loops import Run


# -- several loops in one thread -----------------------------------------------------------------------


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


@needs_trio_asyncio
def test_asyncio_made_of_trio() -> None:
    folder = Path(__file__).parent
    tests = [folder, folder.parent / "pending_group"]
    environment = os.environ | {"CALLBOARD_TEST_TRIO_ASYNCIO": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-k", "trio_asyncio", *tests]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


# -- the life of a loop --------------------------------------------------------------------------------


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
    # Reference counts are enough.
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


def test_a_system_task_of_trio_is_woken_after_the_main_task() -> None:
    async def system_task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            # The run ends and cancels all system tasks; this one still waits.
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
