"""Interrupt: it ends any cell with a `KeyboardInterrupt`, and the next cell runs."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from support import interrupt

if TYPE_CHECKING:
    from support import Client, Kernel

CELLS = {
    "loop": "while True: pass",
    "loop that prints": "i = 0\nwhile True:\n    i += 1\n    if i % 100_000 == 0: print('.', end='')",
    "sleep": "time.sleep(100)",
    "await": "await asyncio.sleep(100)",
    "gather": "await asyncio.gather(*(asyncio.sleep(100) for _ in range(5)))",
    "task": "await asyncio.create_task(asyncio.sleep(100))",
    "event": "await asyncio.Event().wait()",
    "future of a pool": "from concurrent.futures import Future\nFuture().result()",
    "lock": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    "thread": "import threading\nt = threading.Thread(target=time.sleep, args=(5,), daemon=True)\nt.start()\nt.join()",
    "select": "import select\nselect.select([], [], [], 100)",
    # Closed, because CPython drops an exception that is raised while it warns of an unclosed socket.
    "socket": "import socket\na, b = socket.socketpair()\nwith a, b: a.recv(1)",
    "subprocess": "import subprocess\nsubprocess.run(['sleep', '100'])",
    "async subprocess": "p = await asyncio.create_subprocess_exec('sleep', '100')\nawait p.wait()\nawait asyncio.sleep(100)",
    "busy task": "async def work():\n    while True: await asyncio.sleep(0)\nawait work()",
}


@pytest.mark.parametrize("code", CELLS.values(), ids=CELLS.keys())
def test_a_cell_is_interrupted(kernel: Kernel, client: Client, how: str, code: str) -> None:
    msg_id = client.start("import asyncio, time\nprint('started', flush=True)\n" + code)
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.status == "error"
    assert run.reply["ename"] == "KeyboardInterrupt"
    assert run.error["ename"] == "KeyboardInterrupt"
    assert client.run("'alive'").result == "'alive'"


@pytest.mark.parametrize("name", ["loop", "sleep", "await", "lock", "select"])
def test_a_signal_to_the_process_alone_interrupts_as_well(kernel: Kernel, client: Client, name: str) -> None:
    msg_id = client.start("import asyncio, time\nprint('started', flush=True)\n" + CELLS[name])
    kernel.process.send_signal(signal.SIGINT)
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert client.run("'alive'").result == "'alive'"


def test_input_is_interrupted(kernel: Kernel, client: Client, how: str) -> None:
    msg_id = client.execute("input('question')")
    assert next(client.prompts())["content"]["prompt"] == "question"
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert client.run("'alive'").result == "'alive'"


def test_finally_blocks_of_an_interrupted_cell_run(kernel: Kernel, client: Client, how: str) -> None:
    for statement in ("await asyncio.sleep(100)", "time.sleep(100)"):
        code = f"import asyncio, time\ntry:\n    print('started')\n    {statement}\nfinally:\n    print('cleaned up')"
        msg_id = client.start(code)
        interrupt(client, kernel, how)
        run = client.finish(msg_id, timeout=20)
        assert run.stdout == "started\ncleaned up\n"
        assert run.reply["ename"] == "KeyboardInterrupt"


def test_a_cell_may_catch_its_interrupt(kernel: Kernel, client: Client, how: str) -> None:
    code = (
        "import time\ntry:\n    print('started')\n    time.sleep(100)\n"
        "except KeyboardInterrupt:\n    print('caught')\n'went on'"
    )
    msg_id = client.start(code)
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.status == "ok"
    assert run.stdout == "started\ncaught\n"
    assert run.result == "'went on'"


@pytest.mark.parametrize("code", ["!echo started; sleep 100 | cat", "%%bash\necho started\nsleep 100 | cat"])
def test_a_shell_command_is_interrupted_with_its_processes(kernel: Kernel, client: Client, how: str, code: str) -> None:
    msg_id = client.execute(code)
    client.wait_text("started", msg_id)
    interrupt(client, kernel, how)
    # IPython's magics turn the interrupt into output, an exit code or a CalledProcessError.
    run = client.finish(msg_id, timeout=20)
    assert run.status == "ok" or run.reply["ename"] in ("KeyboardInterrupt", "CalledProcessError")
    check = (
        "import psutil\nchildren = [p for p in psutil.Process().children(recursive=True) if p.status() != 'zombie']\n"
        "gone, alive = psutil.wait_procs(children, timeout=10)\n[p.cmdline() for p in alive]"
    )
    assert client.run(check).result == "[]"


def test_a_shell_command_is_interrupted_while_it_starts(kernel: Kernel, client: Client, how: str) -> None:
    msg_id = client.start("print('started')\n!sleep 100")
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.status == "ok" or run.reply["ename"] == "KeyboardInterrupt"
    assert client.run("'alive'").result == "'alive'"


def test_queued_cells_are_aborted(kernel: Kernel, client: Client, how: str) -> None:
    msg_id = client.start("import time\nprint('started', flush=True)\ntime.sleep(100)")
    queued = [client.execute(f"interrupted_queue = {n}") for n in range(5)]
    # Answered by another thread: it proves nothing about the queue, but that the kernel reads it.
    client.ask("kernel_info_request")
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert [client.finish(queued_id).status for queued_id in queued] == ["aborted"] * 5
    assert client.run("'interrupted_queue' in globals()").result == "False"


def test_an_interrupt_when_idle_does_no_harm(kernel: Kernel, client: Client, how: str) -> None:
    for _ in range(10):
        interrupt(client, kernel, how)
    client.ask("kernel_info_request", channel="control")
    run = client.run("'alive'")
    assert run.status == "ok"
    assert run.result == "'alive'"


def test_interrupts_between_cells_hit_at_most_cells_that_run(kernel: Kernel, client: Client, how: str) -> None:
    for n in range(30):
        msg_id = client.execute(f"{n}")
        interrupt(client, kernel, how)
        assert client.finish(msg_id).status in ("ok", "error", "aborted")
    client.ask("interrupt_request", channel="control")
    # A queued interrupt may still reach the next cell, but not the one after it.
    client.run("'next'")
    assert client.run("'alive'").result == "'alive'"


def test_a_second_interrupt_stops_what_the_first_did_not(kernel: Kernel, client: Client, how: str) -> None:
    code = (
        "import time\n"
        "try:\n    print('started', flush=True)\n    time.sleep(100)\n"
        "except KeyboardInterrupt:\n    print('stubborn', flush=True)\n    time.sleep(100)"
    )
    msg_id = client.start(code)
    interrupt(client, kernel, how)
    client.wait_text("stubborn", msg_id)
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert client.run("'alive'").result == "'alive'"


def test_an_awaiting_cell_that_refuses_is_stopped_by_the_second_interrupt(
    kernel: Kernel, client: Client, how: str
) -> None:
    code = (
        "import asyncio\n"
        "try:\n    print('started', flush=True)\n    await asyncio.sleep(100)\n"
        "except BaseException:\n    print('stubborn', flush=True)\n    await asyncio.sleep(100)"
    )
    msg_id = client.start(code)
    interrupt(client, kernel, how)
    client.wait_text("stubborn", msg_id)
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert client.run("await asyncio.sleep(0, 'alive')").result == "'alive'"


def test_a_cancelled_error_of_the_users_own_is_no_interrupt(client: Client) -> None:
    run = client.run("import asyncio\nt = asyncio.create_task(asyncio.sleep(100))\nt.cancel()\nawait t")
    assert run.reply["ename"] == "CancelledError"
    assert client.run("'alive'").result == "'alive'"


def test_tasks_in_the_background_survive_the_interrupt_of_a_cell(kernel: Kernel, client: Client, how: str) -> None:
    client.run("import asyncio\nbackground = asyncio.create_task(asyncio.sleep(1000))")
    msg_id = client.start("print('started')\nawait asyncio.sleep(100)")
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert client.run("background.done()").result == "False"
    client.run("background.cancel()")


def test_an_awaited_thread_does_not_hold_up_the_interrupt(kernel: Kernel, client: Client, how: str) -> None:
    code = (
        "import asyncio, threading\nrelease = threading.Event()\n"
        "print('started', flush=True)\nawait asyncio.to_thread(release.wait)"
    )
    msg_id = client.start(code)
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    client.run("release.set()")


def test_a_signal_is_noticed_also_when_code_has_set_its_handler_and_set_it_back(client: Client) -> None:
    assert (
        client.run(
            "import asyncio, signal, threading, time\nhandler = signal.getsignal(signal.SIGINT)\n"
            "signal.signal(signal.SIGINT, signal.SIG_DFL)\n_ = signal.signal(signal.SIGINT, handler)"
        ).status
        == "ok"
    )
    # Another thread gets it: nothing cuts the sleep of the main thread short, and Python's own handler does not.
    code = (
        "def send():\n    time.sleep(0.1)\n    signal.pthread_kill(threading.get_ident(), signal.SIGINT)\n"
        "threading.Thread(target=send).start()\ntime.sleep(100)"
    )
    assert client.run(code).reply["ename"] == "KeyboardInterrupt"
    # An event loop inside of a cell does the same.
    assert (
        client.run(
            "async def main():\n    loop = asyncio.get_running_loop()\n"
            "    loop.add_signal_handler(signal.SIGINT, print)\n    loop.remove_signal_handler(signal.SIGINT)\n"
            "asyncio.run(main())\n" + code
        ).reply["ename"]
        == "KeyboardInterrupt"
    )


def test_pdb_takes_no_interrupts_when_its_cell_has_ended(kernel: Kernel, client: Client, how: str) -> None:
    """pdb handles SIGINT from ``c`` on, and leaves its handler."""
    msg_id = client.execute("breakpoint()\n1")
    client.answer("c", next(client.prompts()))
    assert client.finish(msg_id).result == "1"
    for mode in ("", "# thread\n"):
        msg_id = client.start(f"{mode}print('started', flush=True)\nwhile True: pass")
        interrupt(client, kernel, how)
        assert client.finish(msg_id, timeout=20).error["ename"] == "KeyboardInterrupt"
