"""Errors of threads, tasks and callbacks go to the cell that started them, also after its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from backends import MODES, ON_ASYNCIO, ON_TRIO

if TYPE_CHECKING:
    from support import Client


THREADS_THAT_FAIL = {
    "a thread": "threading.Thread(target=fail).start()",
    "a timer": "threading.Timer(0.001, fail).start()",
    "a thread of a pool": (
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor()\n"
        "pool.submit(lambda: threading.Thread(target=fail).start());"
    ),
}

FAIL_ON_ASYNCIO = {
    "a task that is not awaited": "asyncio.create_task(work());\n_ = None",
    "a group": (
        "async def group():\n    async with asyncio.TaskGroup() as g: g.create_task(work())\n"
        "asyncio.create_task(group());\n_ = None"
    ),
    "a callback": "on.add_done_callback(lambda _: None)\nasyncio.get_running_loop().call_soon(when_on);",
    "a later callback": "asyncio.get_running_loop().call_later(0.001, when_on);",
    "a callback of a task": "task = asyncio.create_task(let_on())\ntask.add_done_callback(lambda _: fail())",
}

FAIL_ON_TRIO = {
    "a system task": "trio.lowlevel.spawn_system_task(work);",
    "a nursery": (
        "async def group():\n    async with trio.open_nursery() as n: n.start_soon(work)\n"
        "trio.lowlevel.spawn_system_task(group);"
    ),
}

#: Defines `fail`, which raises when `on` has been completed.
FAIL = """
import callboard, threading
on = callboard.Pending()
async def let_on(): await on.wait(protect=True)
def fail():
    on.wait_sync(protect=True)
    raise ValueError('it failed')
async def work():
    await let_on()
    fail()
def when_on():
    if on.done(): fail()
    asyncio.get_running_loop().call_later(0.001, when_on)
"""


def check_errors(client: Client, mode: str, code: str) -> None:
    """Code that a cell has started fails, and the error goes to that cell, which has ended."""
    client.run(FAIL)
    cell = client.run(f"{mode}{code}")
    assert cell.status == "ok"
    client.run("'another cell'")
    other = client.execute("on.set_result(None)\nawait callboard.Caller().call_soon(lambda: None)")
    # A task that has failed is told of when it is collected, which is tried until it has been.
    client.run("told = False")
    collector = client.execute("# thread\nimport gc\nwhile not told: await callboard.Caller().call_soon(gc.collect)")
    text = client.wait_text("ValueError: it failed", cell.msg_id, "stderr")
    client.run("told = True")
    assert client.finish(collector).status == "ok"
    assert "fail" in text
    assert client.finish(other).stderr == ""
    assert client.run("'alive'").result == "'alive'"


@MODES
@pytest.mark.parametrize("code", THREADS_THAT_FAIL.values(), ids=THREADS_THAT_FAIL.keys())
def test_errors_of_threads_are_told_to_the_cell_that_started_them(client: Client, mode: str, code: str) -> None:
    check_errors(client, mode, code)


@MODES
@ON_ASYNCIO
@pytest.mark.parametrize("code", FAIL_ON_ASYNCIO.values(), ids=FAIL_ON_ASYNCIO.keys())
def test_errors_on_asyncio_are_told_to_the_cell_that_started_the_code(client: Client, mode: str, code: str) -> None:
    check_errors(client, mode, f"import asyncio\n{code}")


@MODES
@ON_TRIO
@pytest.mark.parametrize("code", FAIL_ON_TRIO.values(), ids=FAIL_ON_TRIO.keys())
def test_errors_on_trio_are_told_to_the_cell_that_started_the_code(client: Client, mode: str, code: str) -> None:
    check_errors(client, mode, f"import trio\n{code}")


@ON_ASYNCIO
def test_a_task_that_is_thrown_away_while_it_waits_is_told_to_its_cell(client: Client) -> None:
    code = (
        "import asyncio\nasync def wait(): await asyncio.get_running_loop().create_future()\n"
        "asyncio.create_task(wait());\n_ = None"
    )
    cell = client.run(code)
    other = client.execute("import gc\nfor i in range(5):\n    await asyncio.sleep(0)\n    n = gc.collect()")
    client.wait_text("Task was destroyed but it is pending", cell.msg_id, "stderr")
    assert client.finish(other).stderr == ""


@ON_TRIO
def test_a_nursery_that_is_left_open_does_not_end_the_kernel(client: Client) -> None:
    client.run("kept = 'kept'\nimport trio")
    for code in (
        "nursery = await trio.open_nursery().__aenter__()\nnursery.start_soon(trio.sleep_forever)",
        "scope = trio.CancelScope().__enter__()",
        "trio.lowlevel.spawn_system_task.__wrapped__(fail);",
    ):
        client.run("async def fail(): raise ValueError('of a system task')\n" + code)
        queued = [client.execute("await trio.sleep(0)\nkept") for _ in range(3)]
        for msg_id in queued:
            client.finish(msg_id)
        assert client.run("await trio.sleep(0)\nkept").result == "'kept'"
        assert client.run("# task\nkept").result == "'kept'"
        assert client.run("import callboard\nawait callboard.Caller().call_soon(lambda: 'called')").result == "'called'"
