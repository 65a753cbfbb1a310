"""Interrupt, by signal and by message: hooks, imports, run modes, trio, and what the traceback shows."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from support import Run, interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client, Kernel


def stop(client: Client, kernel: Kernel, how: str, msg_id: str) -> Run:
    """Interrupts a cell, which ends with a `KeyboardInterrupt` that is shown; the next one runs."""
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.reply["ename"] == run.error["ename"] == "KeyboardInterrupt"
    assert client.run("'alive'").result == "'alive'"
    return run


@pytest.mark.parametrize("first_line", ["# task", "# thread", "# thread name=named"])
@pytest.mark.parametrize("code", ["await asyncio.sleep(100)", "while True: pass", "time.sleep(100)"])
def test_cells_beside_the_queue(kernel: Kernel, client: Client, how: str, first_line: str, code: str) -> None:
    if "thread" in first_line and "time" in code:
        # Nothing but the main thread's system calls can be cut short.
        code = "while True: time.sleep(0.01)"
    msg_id = client.start(f"{first_line}\nimport asyncio, time\nprint('started', flush=True)\n{code}")
    stop(client, kernel, how, msg_id)


@pytest.mark.parametrize("code", ["await asyncio.sleep(100)", "while True: pass", "!echo started2; sleep 1000"])
def test_a_cell_of_a_subshell(kernel: Kernel, client: Client, how: str, code: str) -> None:
    subshell = client.ask("create_subshell_request", channel="control")["subshell_id"]
    msg_id = client.start(f"import asyncio\nprint('started', flush=True)\n{code}", header={"subshell_id": subshell})
    stop(client, kernel, how, msg_id)
    assert client.run("'here'", header={"subshell_id": subshell}).result == "'here'"
    client.ask("delete_subshell_request", {"subshell_id": subshell}, channel="control")


def test_a_cell_of_a_thread_that_starts_threads(kernel: Kernel, client: Client, how: str) -> None:
    """A thread that is being started must not get the interrupt of the one that starts it."""
    for _ in range(30):
        msg_id = client.start(
            "# thread\nimport threading\nprint('started', flush=True)\n"
            "while True:\n    thread = threading.Thread(target=int)\n    thread.start()\n    thread.join()"
        )
        stop(client, kernel, how, msg_id)


@pytest.mark.parametrize("first_line", ["# thread", "# queue", "# task"])
def test_a_cell_whose_next_statement_is_being_compiled(
    kernel: Kernel, client: Client, how: str, first_line: str
) -> None:
    """IPython compiles each statement when the one before has run: no user code runs meanwhile."""
    for _ in range(5):
        msg_id = client.start(
            f"{first_line}\nprint('started', flush=True)\nwhile True:\n    if False: [{'a + 1, ' * 20_000}]"
        )
        stop(client, kernel, how, msg_id)


@pytest.mark.parametrize("first_line", ["# thread", "# queue"])
def test_a_finalizer(kernel: Kernel, client: Client, how: str, first_line: str) -> None:
    """Python swallows what is raised there: the cell is interrupted when it goes on."""
    msg_id = client.start(
        f"{first_line}\nclass Endless:\n    def __del__(self):\n        print('started', flush=True)\n"
        "        while True: pass\n"
        "endless = Endless()\ndel endless\nwhile True: pass"
    )
    run = stop(client, kernel, how, msg_id)
    assert run.stderr == ""


def test_a_loop_of_commands(kernel: Kernel, client: Client, how: str) -> None:
    msg_id = client.start("print('started', flush=True)\nwhile True:\n    !true")
    stop(client, kernel, how, msg_id)


def test_a_child_of_subprocess_with_children_of_its_own(kernel: Kernel, client: Client, how: str) -> None:
    msg_id = client.execute("import subprocess\nsubprocess.run('sleep 1000 | sleep 1000; echo no', shell=True)")
    check = "import os\nos.system('pgrep -g 0 sleep >&2') and None"
    while "1000" not in os.popen(f"pgrep -a -g {kernel.process.pid} sleep").read():
        client.ask("kernel_info_request")
    run = stop(client, kernel, how, msg_id)
    assert run.stdout == ""
    assert client.run(check).stderr == ""


@pytest.mark.parametrize("event", ["pre_run_cell", "post_execute", "post_run_cell"])
@pytest.mark.parametrize("code", ["while True: pass", "time.sleep(100)"])
def test_a_hook(kernel: Kernel, client: Client, how: str, event: str, code: str) -> None:
    registered = client.run(
        "import time\nshell = get_ipython()\n"
        f"def hook(*_):\n    shell.events.unregister({event!r}, hook)\n    print('started', flush=True)\n    {code}\n"
        f"def register(*_):\n    shell.events.unregister('post_run_cell', register)\n"
        f"    shell.events.register({event!r}, hook)\n"
        "shell.events.register('post_run_cell', register)"
    )
    assert registered.status == "ok"
    msg_id = client.start("1 + 1")
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert "KeyboardInterrupt" in str(run.contents("error", "stream"))
    assert client.run("'alive'").result == "'alive'"


@pytest.mark.parametrize("module", ["numpy", "unittest.mock, xmlrpc.client, sqlite3, tkinter"])
def test_an_import(fresh_kernel: Kernel, fresh_client: Client, how: str, module: str) -> None:
    msg_id = fresh_client.start(f"print('started', flush=True)\nimport {module}")
    interrupt(fresh_client, fresh_kernel, how)
    run = fresh_client.finish(msg_id, timeout=20)
    # The import may have ended before the interrupt, or failed.
    assert run.status == "ok" or run.reply["ename"] in ("KeyboardInterrupt", "ImportError", "ModuleNotFoundError")
    assert fresh_client.run("import json.tool\n'alive'").result == "'alive'"


TRIO = {
    "sleep": "await trio.sleep(1000)",
    "nursery": "async with trio.open_nursery() as nursery:\n    for _ in range(3): nursery.start_soon(trio.sleep, 1000)",
    "shielded": "with trio.CancelScope() as scope:\n    await trio.sleep_forever()",
    "busy": "while True: await trio.lowlevel.checkpoint()",
    "loop": "while True: pass",
    "blocking": "time.sleep(1000)",
}


def test_cells_of_a_kernel_on_trio(start_kernel: Callable[..., Kernel], how: str) -> None:
    kernel = start_kernel("--backend=trio")
    with kernel.connect() as client:
        for code in TRIO.values():
            stop(client, kernel, how, client.start(f"import time, trio\nprint('started', flush=True)\n{code}"))


@pytest.mark.parametrize("code", TRIO.values(), ids=TRIO.keys())
def test_the_magic_trio(kernel: Kernel, client: Client, how: str, code: str) -> None:
    stop(client, kernel, how, client.start(f"%%trio\nimport time, trio\nprint('started', flush=True)\n{code}"))


def frames(run: Run) -> list[str]:
    """The files of a traceback's frames."""
    text = run.traceback
    return [line.split(",")[0] for line in text.splitlines() if line.startswith(("File ", "Cell In"))]


@pytest.mark.parametrize(
    ("code", "library"),
    [
        ("while True: pass", "no library"),
        ("time.sleep(100)", "no library"),
        ("await asyncio.sleep(100)", "asyncio/"),
        ("await asyncio.create_task(asyncio.sleep(100))", "asyncio/"),
        ("await asyncio.gather(*(asyncio.sleep(100) for _ in range(3)))", "asyncio/"),
        ("await asyncio.Event().wait()", "asyncio/"),
        ("!echo started; sleep 100", "no library"),
        ("lock = threading.Lock()\nlock.acquire(); lock.acquire()", "no library"),
        ("# thread\nwhile True: pass", "no library"),
        ("# task\nawait asyncio.sleep(100)", "asyncio/"),
        ("print('started'); input('?')", "no library"),
    ],
)
def test_the_traceback_is_short(kernel: Kernel, client: Client, how: str, code: str, library: str) -> None:
    """Only frames of the cell, and of the library function that it has called."""
    first, _, rest = code.partition("\n")
    client.run("import asyncio, threading, time")
    # One statement: all of it has been compiled when it says that it has started.
    mode, code = (first + "\n", rest) if first.startswith("#") else ("", code)
    indented = code.replace("\n", "\n    ")
    start = "pass" if "started" in code else "print('started', flush=True)"
    msg_id = client.execute(f"{mode}if True:\n    {start}\n    {indented}")
    client.wait_text("started", msg_id)
    if "input" in code:
        next(client.prompts())
    run = stop(client, kernel, how, msg_id)
    where = frames(run)
    # A command may have ended by the same signal before the interrupt came: then there is nothing to show.
    assert where[:1] == [] or where[0].startswith("Cell In"), where
    assert where or first.startswith("!")
    # The interrupt may come anywhere in the function of the library, not only where it waits.
    others = [place for place in where if not place.startswith("Cell In")]
    assert len(others) <= 4, where
    # asyncio may have called the loop.
    assert all(library in place or (library == "asyncio/" and "uvloop/" in place) for place in others), where


def test_many_in_a_row(kernel: Kernel, client: Client) -> None:
    """Signals at any moment, also just before a call that blocks: none is lost."""
    for number in range(40):
        msg_id = client.start(
            "import socket\na, b = socket.socketpair()\nprint('started', flush=True)\n"
            f"with a, b:\n    for _ in range({number * 20}): pass\n    a.recv(1)"
        )
        kernel.process.send_signal(signal.SIGINT)
        run = client.finish(msg_id, timeout=20)
        assert run.reply["ename"] == run.error["ename"] == "KeyboardInterrupt"


def test_an_interrupt_does_not_hit_later_cells(kernel: Kernel, client: Client, how: str) -> None:
    """Cells of other threads are interrupted by the thread `Control`, which may be late."""
    client.run(
        "import threading\ncome, go, end = threading.Event(), threading.Event(), threading.Event()\n"
        "class Slow:\n    def __dir__(self):\n        come.set()\n        go.wait()\n        return ['a']\n"
        "slow = Slow()"
    )
    client.run("# thread name=Kept\n1")
    held_up = client.send("complete_request", {"code": "slow.", "cursor_pos": 5})
    assert client.run("come.wait()").result == "True"
    endless = client.start("print('started')\nwhile True: pass")
    interrupt(client, kernel, how)
    assert client.finish(endless).reply["ename"] == "KeyboardInterrupt"
    later = client.start("# thread name=Kept\nprint('started')\nend.wait()")
    client.run("go.set()")
    client.reply(held_up)
    assert client.ask("complete_request", {"code": "pri", "cursor_pos": 3})["status"] == "ok"
    client.run("end.set()")
    assert client.finish(later).result == "True"
