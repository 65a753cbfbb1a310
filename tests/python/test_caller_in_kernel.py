"""The Caller API as cells use it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from event_loops import skip_without_guest

if TYPE_CHECKING:
    from support import Client, Run


@pytest.fixture(scope="module")
def options(backend: str) -> tuple[str, ...]:
    return ("--backend", backend)


@pytest.fixture(autouse=True)
def imported(client: Client) -> None:
    client.run("import asyncio, threading, time, trio\nfrom callboard import Caller, Pending, PendingGroup")


def test_the_kernel_s_callers_are_found_and_named(client: Client, backend: str) -> None:
    assert client.run("Caller() is Caller('MainThread') is get_ipython().kernel.caller").result == "True"
    assert client.run("Caller().name, Caller().backend, Caller().protected").result == repr(("Shell", backend, True))
    code = "[(c.name, c.parent and c.parent.name) for c in get_ipython().kernel.callers.values()]"
    assert client.run(code).result == "[('Shell', None), ('Control', 'Shell')]"
    assert client.run("[c.name for c in Caller.all_callers()][:2]").result == "['Shell', 'Control']"


@pytest.mark.parametrize("other", ["asyncio", "trio"])
def test_calls_run_where_they_are_told_to_and_return(client: Client, backend: str, other: str) -> None:
    skip_without_guest(backend, other)
    client.run(
        f"me = Caller()\nchild = me.get(name='child of {other}', backend={other!r})\n"
        "async def where():\n"
        "    import sniffio\n"
        "    return threading.current_thread().name, sniffio.current_async_library()"
    )
    assert client.run("await me.call_soon(where)").result == repr(("MainThread", backend))
    assert client.run("await child.call_soon(where)").result == repr((f"child of {other}", other))
    assert client.run(f"await me.call_using_backend({other!r}, where)").result == repr(("MainThread", other))
    assert client.run("(await me.to_thread(where))[1]").result == repr(backend)
    assert client.run("child.parent is me, child in me.children").result == "(True, True)"
    assert client.run("await child.stop()\nchild in me.children").result == "False"


def test_a_call_is_waited_for_without_a_loop(client: Client) -> None:
    # The main thread is blocked meanwhile.
    assert client.run("Caller().get(name='elsewhere').call_soon(time.sleep, 0.001).wait_sync()").status == "ok"
    assert client.run("Caller().get(name='elsewhere').call_later(0.01, lambda: 'late').wait_sync()").result == "'late'"
    code = "pen = Caller().to_thread(lambda: 1)\n[t for t in [threading.Thread(target=pen.wait_sync)] if t.start() or t.join()]"
    assert client.run(f"{code}\npen.result()").result == "1"


@pytest.mark.parametrize(
    "call", ["call_soon(fail)", "to_thread(fail)", "call_later(0, fail)", "call_using_backend('asyncio', fail)"]
)
def test_what_a_call_raises_is_the_cell_s_error(client: Client, backend: str, call: str) -> None:
    if "asyncio" in call:
        skip_without_guest(backend)
    client.run("def fail():\n    return 1 / 0")
    run = client.run(f"await Caller().{call}")
    assert run.error["ename"] == "ZeroDivisionError"
    assert "return 1 / 0" in run.traceback


def test_an_interrupt_cancels_what_the_cell_waits_for(client: Client) -> None:
    msg_id = client.start(
        "sleep = trio.sleep if Caller().backend == 'trio' else asyncio.sleep\n"
        "pen = Caller().get(name='other').call_soon(sleep, 1000)\n"
        # The cell waits when this is answered.
        "_ = Caller().call_soon(print, 'started')\nawait pen"
    )
    client.ask("interrupt_request", {}, channel="control")
    assert client.finish(msg_id).error["ename"] == "KeyboardInterrupt"
    assert client.run("pen.cancelled()").result == "True"


def test_computing_in_another_thread_is_cancelled(client: Client) -> None:
    client.run(
        "running = threading.Event()\n"
        "def compute():\n    running.set()\n    while True: pass\n"
        "pen = Caller().to_thread(compute)\nrunning.wait()\npen.cancel('enough')"
    )
    run = client.run("await pen")
    assert run.error["ename"] == "PendingCancelled"
    assert "enough" in run.error["evalue"]


def test_groups_wait_for_calls_and_cancel_them_together(client: Client) -> None:
    code = (
        "async with PendingGroup() as group:\n"
        "    pens = [Caller().to_thread(time.sleep, 0.001) for _ in range(5)]\n"
        "[pen.done() for pen in pens]"
    )
    assert client.run(code).result == repr([True] * 5)
    run = client.run(
        "async with PendingGroup() as group:\n    waiting = Caller().call_soon(Pending().wait)\n"
        "    Caller().to_thread(lambda: 1 / 0)"
    )
    assert run.error["ename"] == "ExceptionGroup"
    shown = run.traceback
    assert "ZeroDivisionError: division by zero" in shown
    assert "interactiveshell.py" not in shown
    assert (run.stdout, run.stderr) == ("", "")
    assert client.run("waiting.cancelled()").result == "True"


def current(run: Run) -> str:
    """The Caller that ``%callers`` has found itself in."""
    (line,) = [line for line in run.stdout.splitlines() if "← current" in line]
    return line


@pytest.mark.parametrize(
    ("code", "thread"),
    [
        ("%thread %callers", "callboard_caller"),
        ('%%thread name="My executor"\n%callers', "My executor"),
        (
            '%%thread name="My trio executor" backend=trio\nimport trio\n%callers\nawait trio.sleep(0)',
            "My trio executor",
        ),
        ("# thread name='My thread'\n%callers", "My thread"),
        ("%asyncio %callers", "MainThread"),
        ("%%trio\n%callers\nawait trio.sleep(0)", "MainThread"),
    ],
)
def test_magics_run_code_in_threads_and_on_event_loops(client: Client, backend: str, code: str, thread: str) -> None:
    if "%asyncio" in code:
        skip_without_guest(backend)
    run = client.run(code)
    assert run.status == "ok"
    assert f" {thread} " in current(run)


@pytest.mark.parametrize("other", ["asyncio", "trio"])
def test_code_runs_on_the_other_event_loop_in_the_same_thread(client: Client, backend: str, other: str) -> None:
    # In either case asyncio is a guest, on trio.
    skip_without_guest(backend)
    client.run(
        "def where():\n    import sniffio\n    print(sniffio.current_async_library(), threading.current_thread().name)"
    )
    assert client.run(f"%{other} where()").stdout == f"{other} MainThread\n"
    run = client.run(f"%%{other}\nwhere()\n%asyncio where()\n%trio where()\nawait {other}.sleep(0)\nhere = '{other}'")
    assert run.stdout == f"{other} MainThread\nasyncio MainThread\ntrio MainThread\n"
    # It uses the cell's variables.
    assert client.run("where()\nhere").stdout == f"{backend} MainThread\n"


@pytest.mark.parametrize("magic", ["thread", "asyncio", "trio"])
def test_an_error_elsewhere_is_shown_once_at_the_user_s_line(client: Client, backend: str, magic: str) -> None:
    skip_without_guest(backend, magic)
    for code, line in ((f"%{magic} 1 / 0", "1 / 0"), (f"%%{magic}\nx = 1\nx / 0", "x / 0")):
        run = client.run(code)
        assert run.reply["ename"] == run.error["ename"] == "ZeroDivisionError"
        shown = run.traceback
        assert re.search(rf"--> \d {re.escape(line)}\n", shown), shown
        assert "callboard" not in shown
    run = client.run(f"%{magic} 1 / 0", metadata={"tags": ["suppress-error"]})
    assert (run.status, run.contents("error"), run.stdout) == ("ok", [], "\N{WARNING SIGN}\n")
    run = client.run(f"try:\n    %{magic} 1 / 0\nexcept ZeroDivisionError:\n    pass\n2 / 0")
    assert [error["ename"] for error in run.contents("error")] == ["ZeroDivisionError"] * 2
    assert run.reply["traceback"] == run.contents("error")[1]["traceback"]


@pytest.mark.parametrize(
    ("code", "ename", "what"),
    [
        ("Caller('NewThread', backend='tornado')", "ValueError", "'tornado' is not a backend: the backends are"),
        ("Caller().get(backend='tornado')", "ValueError", "'tornado' is not a backend: the backends are"),
        ("Caller().call_using_backend('tornado', print)", "ValueError", "'tornado' is not a backend"),
        ("Caller('Elsewhere')", "ValueError", "use CurrentThread, MainThread or NewThread"),
        ("Caller(name='other')", "ValueError", "is called 'Shell', not 'other'"),
        ("Caller().get(host='qt')", "RuntimeError", "no GUI event loop"),
        ("Caller().get(backend_options={'speed': 9})", "ValueError", "'speed' is no option of"),
        ("Caller().protected = False", "ValueError", "stop it with stop(force=True)"),
        ("Caller().stopped.wait_sync()", "RuntimeError", "wait"),
        ("child = Caller().get(name='c'); await child.stop(); child.get()", "RuntimeError", "takes no more children"),
    ],
)
def test_misuse_is_a_clear_error(client: Client, code: str, ename: str, what: str) -> None:
    run = client.run(code)
    assert run.status == "error", code
    assert run.error["ename"] == ename
    assert what in run.error["evalue"]
    assert client.run("'still here'").result == "'still here'"


def test_stopping_a_protected_caller_is_warned_of(client: Client) -> None:
    run = client.run("Caller().stop()")
    assert "RuntimeWarning: the Caller 'Shell' is protected and goes on: stop it with stop(force=True)" in run.stderr
    assert client.run("Caller().stopping.done()").result == "False"


def test_two_hundred_named_callers_twenty_times_leave_nothing(fresh_client: Client) -> None:
    client = fresh_client
    client.run(
        "import os, threading\nfrom callboard import Caller\n"
        # Sockets, pipes, event and epoll descriptors; not files: the history's thread opens and closes some meanwhile.
        "def target(fd):\n    try: return os.readlink(f'/proc/self/fd/{fd}')\n    except OSError: return '/'\n"
        "def left():\n"
        "    kept = [fd for fd in os.listdir('/proc/self/fd') if not target(fd).startswith('/')]\n"
        "    return threading.active_count(), len(kept), len(Caller.all_callers())\n"
        "async def round_():\n"
        "    made = [Caller().get(name=f'caller {n}') for n in range(200)]\n"
        "    pens = [caller.call_soon(lambda n=n: n) for n, caller in enumerate(made)]\n"
        "    assert [await pen for pen in pens] == list(range(200))\n"
        "    for caller in made: caller.stop()\n"
        "    for caller in made: await caller.stopped"
    )
    client.run("await round_()")
    code = (
        "for caller_thread in [t for t in threading.enumerate() if t.name.startswith('caller ')]: caller_thread.join()\n"
        "left()"
    )
    before = eval(client.run(code).result or "")
    assert client.run("for _ in range(20): await round_()").status == "ok"
    after = eval(client.run(code).result or "")
    # Idle threads and descriptors of the loops may have gone meanwhile, but none has come.
    assert all(now <= then for now, then in zip(after, before, strict=True)), (before, after)
