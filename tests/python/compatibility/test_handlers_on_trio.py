"""Handlers, callbacks and a replaced ``run_cell`` where trio runs on the main thread."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client


@pytest.fixture(scope="module")
def python() -> str:
    """One environment: nothing here asks whether ipykernel is installed."""
    return sys.executable


@pytest.fixture(scope="module")
def options() -> tuple[str, ...]:
    """The command line of the kernels."""
    return ("--backend=trio",)


PRELUDE = """
import threading, trio
kernel = get_ipython().kernel
before = dict(kernel.shell_handlers)
"""


@pytest.fixture(autouse=True)
def _prelude(client: Client) -> None:
    assert client.run(PRELUDE, silent=True).reply["status"] == "ok"


def test_a_handler_of_cells_awaits_and_runs_them(client: Client) -> None:
    client.run(
        "async def handler(stream, ident, parent):\n"
        "    await trio.sleep(0)\n"
        "    await kernel.execute_request(stream, ident, parent)\n"
        "kernel.shell_handlers['execute_request'] = handler"
    )
    assert client.run("await trio.sleep(0.01); 6 * 7").result == "42"
    assert client.run("1/0").error["ename"] == "ZeroDivisionError"
    msg_id = client.execute("print('started')\nawait trio.sleep(100)")
    client.wait_text("started", msg_id)
    client.ask("interrupt_request", channel="control")
    assert client.reply(msg_id)["content"]["ename"] == "KeyboardInterrupt"
    client.run("kernel.shell_handlers.update(before)")
    assert client.run("'as before'").result == "'as before'"


def test_asynchronous_handlers_of_comms_start_in_the_order_of_the_messages(client: Client) -> None:
    client.run(
        "seen = []\n"
        "async def handler(stream, ident, parent):\n"
        "    seen.append(parent['content']['data'])\n"
        "    await trio.sleep(0)\n"
        "kernel.shell_handlers['comm_msg'] = handler"
    )
    for n in range(20):
        last = client.send("comm_msg", {"comm_id": "c", "data": n})
    client.wait_idle(last)
    assert client.run("kernel.shell_handlers.update(before)\nseen == [*range(20)]").result == "True"


def test_the_io_loop_runs_callbacks_of_threads(client: Client) -> None:
    run = client.run(
        "done = trio.Event()\n"
        "async def last():\n"
        "    await trio.sleep(0)\n"
        "    print(threading.current_thread() is threading.main_thread())\n"
        "    done.set()\n"
        "threading.Thread(target=kernel.io_loop.add_callback, args=(last,)).start()\n"
        "await done.wait()\n"
        "kernel.io_loop.asyncio_loop"
    )
    assert run.stdout == "True\n"
    assert "trio" in run.error["evalue"]


def test_a_replaced_run_cell_gets_the_cells_that_do_not_await(client: Client) -> None:
    client.run(
        "shell = get_ipython(); original = shell.run_cell\n"
        "def wrapper(*args, **kwargs):\n"
        "    print('wrapped')\n"
        "    return original(*args, **kwargs)\n"
        "shell.run_cell = wrapper"
    )
    run = client.run("6 * 7")
    assert (run.stdout, run.result) == ("wrapped\n", "42")
    assert client.run("await trio.sleep(0); 'awaited'").result == "'awaited'"
    client.run("del shell.run_cell")
