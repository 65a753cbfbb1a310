"""Interrupts, deletes and shuts down subshells, also while their cells compute, wait or refuse to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from subshell_tools import BUSY, Subshell, busy, ids
from support import FREE_THREADED, Deadline, Kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client


# -- interrupt -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BUSY)
def test_an_interrupt_stops_a_cell_of_a_subshell(client: Client, sub: Subshell, backend: str, kind: str) -> None:
    if FREE_THREADED and (backend, kind) == ("trio", "busy task"):
        pytest.skip("without the GIL the interrupt of a thread may hit trio's own code: docs/free-threading.md")
    msg_id = sub.start(f"print('started')\n{busy(kind, backend)}")
    behind = sub.execute("'behind'")
    client.ask("kernel_info_request")
    assert client.ask("interrupt_request", channel="control") == {"status": "ok"}
    run = client.finish(msg_id, timeout=20)
    assert run.reply["ename"] == run.error["ename"] == "KeyboardInterrupt"
    assert client.finish(behind).status == "aborted"
    assert sub.run("'alive'").result == "'alive'"
    assert client.run("'alive'").result == "'alive'"


def test_an_interrupt_stops_all_shells(client: Client, make: Callable[[], Subshell]) -> None:
    one, two = make(), make()
    cells = [
        one.start("print('started')\nwhile True: pass"),
        two.start("print('started')\nimport callboard\nawait callboard.Pending()"),
        client.start("print('started')\nimport time\ntime.sleep(1000)"),
    ]
    client.ask("interrupt_request", channel="control")
    assert [client.finish(msg_id, timeout=20).reply["ename"] for msg_id in cells] == ["KeyboardInterrupt"] * 3
    for shell in (one, two, client):
        assert shell.run("'alive'").result == "'alive'"


def test_an_interrupt_of_an_idle_subshell_does_no_harm(client: Client, sub: Subshell) -> None:
    sub.run("1")
    for _ in range(5):
        client.ask("interrupt_request", channel="control")
    assert sub.run("'alive'").result == "'alive'"


# -- deletion ------------------------------------------------------------------------------------------


def test_a_subshell_that_does_not_exist_is_an_error(client: Client) -> None:
    reply = client.ask("delete_subshell_request", {"subshell_id": "no such"}, channel="control")
    assert reply["status"] == "error"
    assert "no such" in reply["evalue"]
    run = client.run("ran_in_no_subshell = 1", header={"subshell_id": "no such"})
    assert run.status == "error"
    assert "no such" in run.reply["evalue"]
    assert client.run("'ran_in_no_subshell' in globals()").result == "False"
    assert client.ask("delete_subshell_request", {}, channel="control")["status"] == "error"


def test_deleting_twice_is_an_error(client: Client) -> None:
    subshell = Subshell(client)
    subshell.run("1")
    assert subshell.delete() == {"status": "ok"}
    assert subshell.delete()["status"] == "error"
    assert subshell.run("1").status == "error"
    assert ids(client) == []


def threads_end(client: Client, subshell: Subshell) -> None:
    """Waits until the thread of a subshell has ended, and those of workers."""
    name = f"Subshell {subshell.id.split('-')[0]}"
    code = (
        f"import threading\nfor t in threading.enumerate():\n    if t.name == {name!r}: t.join(30)\n"
        "from callboard import Caller\nat_work = {caller.thread for caller in Caller.all_callers()}\n"
        "for t in threading.enumerate():\n    if t.name == 'callboard_caller' and t not in at_work: t.join(30)\n"
        f"[t.name for t in threading.enumerate() if t.name == {name!r}]"
    )
    assert client.run(code).result == "[]"


REFUSE = "try: await callboard.Pending()\nexcept BaseException: pass\n"


@pytest.mark.parametrize("kind", [*BUSY, "refuse", "refuse thrice"])
def test_a_busy_subshell_is_deleted_and_its_thread_ends(client: Client, backend: str, kind: str) -> None:
    subshell = Subshell(client)
    times = {"refuse": 1, "refuse thrice": 3}.get(kind)
    code = f"import callboard\n{REFUSE * times}await callboard.Pending()" if times else busy(kind, backend)
    msg_id = subshell.start(f"print('started')\n{code}")
    queued = subshell.execute("'never'")
    # The kernel has both: they came on the same channel.
    client.ask("kernel_info_request")
    assert subshell.delete() == {"status": "ok"}
    assert client.finish(msg_id, timeout=10).status == "error"
    assert client.finish(queued, timeout=10).status == "aborted"
    assert subshell.id not in ids(client)
    threads_end(client, subshell)


def test_a_subshell_in_c_code_is_deleted_and_its_cell_answered(client: Client) -> None:
    subshell = Subshell(client)
    client.run("import threading\nin_c = threading.Event()")
    msg_id = subshell.start("print('started')\nin_c.wait()\nprint('too late')")
    assert subshell.delete() == {"status": "ok"}
    run = client.finish(msg_id, timeout=10)
    assert run.status == "error"
    assert run.error["ename"] == "SubshellDeleted"
    assert client.run("'main goes on'").result == "'main goes on'"
    client.run("in_c.set()")
    threads_end(client, subshell)


def test_tasks_of_a_deleted_subshell_end(client: Client, backend: str) -> None:
    subshell = Subshell(client)
    msg_id = subshell.start("# task\nprint('started')\nimport callboard\nawait callboard.Pending()")
    assert subshell.run("'beside'").result == "'beside'"
    subshell.delete()
    assert client.finish(msg_id, timeout=10).status == "error"
    threads_end(client, subshell)


def test_a_hundred_subshells_leave_no_thread_and_no_descriptor(fresh_client: Client) -> None:
    client = fresh_client  # in another one, idle workers may end meanwhile
    used = (
        "import callboard\nawait callboard.Caller().call_soon(lambda: 1)\n"
        "await callboard.Caller().to_thread(lambda: 2)\n"
        "!true\nprint('used')"
    )
    count = (
        "import gc, os, threading\n_ = gc.collect()\n"
        # Files are left out: the one of the history has a journal from time to time.
        "def target(fd):\n    try: return os.readlink(f'/proc/self/fd/{fd}')\n    except OSError: return '/'\n"
        "fds = [fd for fd in os.listdir('/proc/self/fd') if not target(fd).startswith('/')]\n"
        "shells = [o for o in gc.get_objects() if type(o) is type(get_ipython())]\n"
        "(sorted(t.name for t in threading.enumerate()), len(fds), len(callboard.Caller.all_callers()), len(shells))"
    )
    for n in range(5):
        subshell = Subshell(client)
        subshell.run(used)
        if n == 1:
            subshell.run("%%bash\ntrue")
        subshell.delete()
        threads_end(client, subshell)
    before = eval(client.run(count).result or "")
    for round_ in range(10):
        subshells = [Subshell(client) for _ in range(10)]
        cells = [subshell.execute(used) for subshell in subshells]
        if round_ == 0:
            cells += [subshell.execute("%%bash\ntrue") for subshell in subshells]
        assert [run.reply for cell in cells if (run := client.finish(cell)).status != "ok"] == []
        for subshell in subshells:
            assert subshell.delete() == {"status": "ok"}
        for subshell in subshells:
            threads_end(client, subshell)
    assert ids(client) == []
    # The descriptors of an inbox are closed on another thread, a moment later.
    deadline = Deadline()
    while (after := eval(client.run(count).result or "")) != before and after[1] > before[1]:
        deadline.left(f"{before} instead of {after}")
    # Some of those at the beginning may have been about to close as well.
    assert (after[0], *after[2:]) == (before[0], *before[2:])
    assert after[1] <= before[1]


@pytest.mark.parametrize("how", ["await deleted", "deleted.wait_sync()"])
def test_code_makes_and_deletes_subshells(client: Client, how: str) -> None:
    client.run("kernel = get_ipython().kernel\nshell = kernel.create_subshell()")
    (subshell_id,) = eval(client.run("[shell.subshell_id]").result or "")
    assert ids(client) == [subshell_id]
    header = {"subshell_id": subshell_id}
    assert client.run("get_ipython() is shell", header=header).result == "True"
    # Also while a cell of it waits, and the deletion needs no answer of Python.
    msg_id = client.start("print('started')\nimport callboard\nawait callboard.Pending()", header=header)
    code = f"deleted = kernel.delete_subshell({subshell_id!r})\n{how}\ndeleted.result(), shell.kernel.subshells"
    assert client.run(code).result == "(None, {})"
    assert client.finish(msg_id).status == "error"
    # Its thread ends a moment after its last cell has.
    deadline = Deadline()
    while subshell_id[:8] in (callers := client.run("callboard.Caller.all_callers()").result or ""):
        deadline.left(callers)
    run = client.run(f"await kernel.delete_subshell({subshell_id!r})")
    assert run.error["ename"] == "RuntimeError"
    assert "UnknownSubshellError" in run.error["evalue"]
    assert subshell_id in run.error["evalue"]


def test_the_kernel_shuts_down_with_busy_subshells(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel()
    with kernel.connect() as client:
        cells = [
            Subshell(client).start("print('started')\nwhile True: pass"),
            Subshell(client).start("print('started')\nimport callboard\nawait callboard.Pending()"),
        ]
        Subshell(client)
        client.send("shutdown_request", {"restart": False}, channel="control")
        for msg_id in cells:
            assert client.finish(msg_id, timeout=20).status == "error"
        assert kernel.wait_end(20) == 0
