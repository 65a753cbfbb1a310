"""Where the debugger stops, and how a stop ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from dap import Dap
from support import interrupt

if TYPE_CHECKING:
    from pathlib import Path

    from support import Client, Kernel

TWICE = "def twice(x):\n    y = x * 2\n    return y\n"


def goes_on(debug: Dap, msg_id: str, result: str | None, at: tuple[str, int]) -> None:
    """The cell stops there once, and goes on."""
    thread = debug.stopped("breakpoint")
    assert debug.where(thread) == at
    debug.go_on(thread)
    assert debug.client.finish(msg_id).result == result


# -- where ---------------------------------------------------------------------------------------------


def test_a_cell_that_was_run_before_attaching(off: Dap) -> None:
    off.client.run(TWICE)
    off.attach()
    off.break_in(TWICE, 2)
    goes_on(off, off.client.execute("twice(21)"), "42", ("twice", 2))


def test_a_module(debug: Dap, tmp_path: Path) -> None:
    file = tmp_path / "stops_in_module.py"
    file.write_text(TWICE)
    debug.break_at(str(file), 2)
    code = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nfrom stops_in_module import twice\ntwice(4)"
    goes_on(debug, debug.client.execute(code), "8", ("twice", 2))
    debug.break_at(str(file))


@pytest.mark.parametrize("just_my_code", [True, False])
def test_a_library(off: Dap, just_my_code: bool) -> None:
    off.attach(justMyCode=just_my_code)
    file = off.client.run("import json.decoder\njson.decoder.__file__").result
    assert file is not None
    path = file.strip("'")
    with open(path) as source:
        line = 1 + next(at for at, text in enumerate(source) if "obj, end = self.raw_decode" in text)
    off.break_at(path, line)
    msg_id = off.client.execute("json.loads('[1]')")
    if not just_my_code:
        thread = off.stopped("breakpoint")
        assert off.where(thread) == ("decode", line)
        off.go_on(thread)
    assert off.client.finish(msg_id).result == "[1]"
    off.break_at(path)


@pytest.mark.parametrize("begun", ["before", "after"])
def test_threads_of_the_user(off: Dap, begun: str) -> None:
    client = off.client
    client.run(TWICE)
    begin = (
        "import queue, threading\nasked, found = queue.Queue(), queue.Queue()\n"
        "def serve():\n    while (n := asked.get()) is not None: found.put(twice(n))\n"
        "server = threading.Thread(target=serve, name='of the user')\nserver.start()"
    )
    if begun == "before":
        client.run(begin)
    off.attach()
    if begun == "after":
        client.run(begin)
    off.break_in(TWICE, 2)
    msg_id = client.execute("asked.put(5)\nfound.get()")
    thread = off.stopped("breakpoint")
    assert off.where(thread) == ("twice", 2)
    names = {each["id"]: each["name"] for each in off.do("threads")["threads"]}
    assert names[thread] == "of the user"
    off.go_on(thread)
    assert client.finish(msg_id).result == "10"
    client.run("asked.put(None)\nserver.join()")


@pytest.mark.parametrize("mode", ["# task", "# thread", "# thread name=named", "# queue"])
def test_run_modes(debug: Dap, mode: str) -> None:
    code = f"{mode}\nimport asyncio\nawait asyncio.sleep(0)\nvalue = 3\nvalue + 4"
    debug.break_in(code, 5)
    goes_on(debug, debug.client.execute(code), "7", ("<module>", 5))


def test_a_subshell(debug: Dap) -> None:
    client = debug.client
    subshell = client.ask("create_subshell_request", channel="control")["subshell_id"]
    code = "in_subshell = 3\nin_subshell + 1"
    debug.break_in(code, 2)
    msg_id = client.execute(code, header={"subshell_id": subshell})
    thread = debug.stopped("breakpoint")
    # The main shell goes on.
    assert client.ask("kernel_info_request")["status"] == "ok"
    assert debug.evaluate(thread, "in_subshell") == "3"
    debug.go_on(thread)
    assert client.finish(msg_id).result == "4"
    client.ask("delete_subshell_request", {"subshell_id": subshell}, channel="control")


def test_coroutines(debug: Dap) -> None:
    code = (
        "import asyncio\nasync def inner(n):\n    await asyncio.sleep(0)\n    return n + 1\n"
        "found = [await inner(1), *await asyncio.gather(inner(2), inner(3))]\nfound"
    )
    debug.break_in(code, 4)
    msg_id = debug.client.execute(code)
    for _ in range(3):
        thread = debug.stopped("breakpoint")
        assert debug.where(thread) == ("inner", 4)
        debug.go_on(thread)
    assert debug.client.finish(msg_id).result == "[2, 3, 4]"


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("\n\n\nfirst = 1\nfirst + 1", 5),
        ("%precision 3\n\nfirst = 1\nfirst + 1", 4),
        ("!true\nfirst = 1\nfirst + 1", 3),
        ("first = 1\n%time second = 2\nfirst + 1", 3),
        ("first = (\n    1\n)\n\n# comment\nfirst + 1", 6),
        ("out = !echo a\n\n\nfirst = 1\nfirst + 1", 5),
        ("'''text\nof two lines'''\nfirst = 1\nfirst + 1", 4),
        ("first = 'äöü'\nfirst = 1\nfirst + 1", 3),
    ],
)
def test_lines(debug: Dap, code: str, line: int) -> None:
    """Those of the client's editor."""
    debug.break_in(code, line)
    goes_on(debug, debug.client.execute(code), "2", ("<module>", line))


def test_conditions_and_messages(debug: Dap) -> None:
    code = "total = 0\nfor n in range(5):\n    total += n\ntotal"
    debug.break_in(code, 3, condition="n == 3")
    msg_id = debug.client.execute(code)
    thread = debug.stopped("breakpoint")
    assert debug.evaluate(thread, "n, total") == "(3, 3)"
    debug.go_on(thread)
    assert debug.client.finish(msg_id).result == "10"
    debug.break_in(code, 3, hitCondition="4")
    msg_id = debug.client.execute(code)
    thread = debug.stopped("breakpoint")
    assert debug.evaluate(thread, "n") == "3"
    debug.go_on(thread)
    assert debug.client.finish(msg_id).result == "10"
    debug.break_in(code, 3, logMessage="n is {n}")
    assert debug.client.run(code).result == "10"


def test_exceptions(debug: Dap) -> None:
    debug.do("setExceptionBreakpoints", filters=["raised"])
    msg_id = debug.client.execute("def fails():\n    raise ValueError('on purpose')\nfails()")
    thread = debug.stopped("exception")
    assert debug.where(thread) == ("fails", 2)
    assert "on purpose" in debug.do("exceptionInfo", threadId=thread)["description"]
    debug.do("setExceptionBreakpoints", filters=[])
    debug.go_on(thread)
    assert debug.client.finish(msg_id).error["ename"] == "ValueError"


def test_pause(debug: Dap) -> None:
    msg_id = debug.client.start("import time\nprint('started')\nend = False\nwhile not end:\n    time.sleep(0.01)")
    thread = next(each["id"] for each in debug.do("threads")["threads"] if each["name"] == "MainThread")
    debug.do("pause", threadId=thread)
    thread = debug.stopped("pause")
    assert debug.where(thread)[0] == "<module>"
    debug.do("evaluate", expression="end = True", frameId=debug.frames(thread)[0]["id"], context="repl")
    debug.go_on(thread)
    assert debug.client.finish(msg_id).status == "ok"


# -- breakpoint() --------------------------------------------------------------------------------------


def test_breakpoint_stops_here_while_attached_and_is_pdb_otherwise(off: Dap) -> None:
    client = off.client

    def pdb() -> None:
        msg_id = client.execute("def asks(x):\n    breakpoint()\n    return x\nasks(1)")
        prompt = next(client.prompts())
        assert "ipdb>" in prompt["content"]["prompt"] or "pdb" in prompt["content"]["prompt"].lower()
        client.answer("c", prompt)
        assert client.finish(msg_id).result == "1"
        client._replies["stdin"].clear()

    pdb()
    for _ in range(2):
        off.attach()
        msg_id = client.execute("def asks(x):\n    breakpoint()\n    return x\nasks(1)")
        thread = off.stopped()
        assert off.where(thread) == ("asks", 3)
        assert off.locals(thread)["x"] == "1"
        off.go_on(thread)
        assert client.finish(msg_id).result == "1"
        off.detach()
        pdb()


def test_breakpoint_in_a_thread(debug: Dap) -> None:
    msg_id = debug.client.execute("# thread\ndef asks(x):\n    breakpoint()\n    return x\nasks(2)")
    thread = debug.stopped()
    assert debug.where(thread) == ("asks", 4)
    debug.go_on(thread)
    assert debug.client.finish(msg_id).result == "2"


# -- steps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("just_my_code", [True, False])
@pytest.mark.parametrize("step", ["next", "stepIn", "stepOut"])
def test_steps_never_enter_the_kernel(off: Dap, just_my_code: bool, step: str) -> None:
    """Step until the cell has ended: all stops are in the cell, and the next cell does not stop."""
    off.attach(justMyCode=just_my_code)
    code = TWICE + "z = twice(1)\nz = twice(z)\nz"
    path = off.break_in(code, 2 if step == "stepOut" else 4)
    msg_id = off.client.execute(code)
    stops = 0
    while (thread := off.stopped_or_ended(msg_id)) is not None:
        stops += 1
        assert stops < 50
        assert [frame["source"]["path"] for frame in off.frames(thread)] == [path] * len(off.frames(thread))
        off.do(step, threadId=thread)
    assert stops >= 2
    assert off.client.finish(msg_id).result == "4"
    assert off.client.run("after = 1\nafter").result == "1"
    off.nothing_stands()


def test_a_step_into_a_library(off: Dap) -> None:
    """Not with justMyCode; without it, yes."""
    off.attach(justMyCode=False)
    code = "import textwrap\ntext = textwrap.dedent(' a')\ntext"
    off.break_in(code, 2)
    msg_id = off.client.execute(code)
    thread = off.stopped()
    off.do("stepIn", threadId=thread)
    thread = off.stopped("step")
    assert off.where(thread)[0] == "dedent"
    off.go_on(thread)
    assert off.client.finish(msg_id).result == "'a'"


def test_the_stack_ends_at_the_cell(debug: Dap) -> None:
    code = TWICE + "def calls():\n    return twice(2)\ncalls()"
    debug.break_in(code, 2)
    msg_id = debug.client.execute(code)
    thread = debug.stopped()
    body = debug.do("stackTrace", threadId=thread, startFrame=0, levels=20)
    assert [frame["name"] for frame in body["stackFrames"]] == ["twice", "calls", "<module>"]
    assert body["totalFrames"] == 3
    debug.go_on(thread)
    debug.client.finish(msg_id)


def test_only_threads_of_the_user_are_shown(debug: Dap) -> None:
    debug.client.run("# thread name=mine\n1")
    debug.client.run("!true")
    names = {each["name"] for each in debug.do("threads")["threads"]}
    assert "MainThread" in names
    assert not names & {"Control", "Debugger", "Debugger connects", "IPythonHistorySavingThread"}
    assert not [name for name in names if "pydevd" in name]


# -- interrupts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["", "# task\n", "# thread\n"])
def test_an_interrupt_ends_a_cell_that_stands(debug: Dap, kernel: Kernel, how: str, mode: str) -> None:
    """And later breakpoints still hit."""
    code = f"{mode}import asyncio\nawait asyncio.sleep(0)\nreached = []\nfor n in range(3):\n    reached.append(n)\nreached"
    line = code.split("\n").index("    reached.append(n)") + 1
    debug.break_in(code, line)
    for _ in range(3):
        msg_id = debug.client.execute(code)
        thread = debug.stopped("breakpoint")
        assert debug.evaluate(thread, "n") == "0"
        interrupt(debug.client, kernel, how)
        run = debug.client.finish(msg_id, timeout=10)
        assert run.error["ename"] == "KeyboardInterrupt"
        debug.event("continued")
        debug.nothing_stands()
        assert debug.client.run("reached").result == "[]"
        debug.client.run("del reached")


def test_an_interrupt_of_a_subshell_that_stands(debug: Dap, kernel: Kernel, how: str) -> None:
    client = debug.client
    subshell = client.ask("create_subshell_request", channel="control")["subshell_id"]
    code = "for n in range(3):\n    n += 1"
    debug.break_in(code, 2)
    for _ in range(2):
        msg_id = client.execute(code, header={"subshell_id": subshell})
        debug.stopped("breakpoint")
        interrupt(client, kernel, how)
        assert client.finish(msg_id, timeout=10).error["ename"] == "KeyboardInterrupt"
    client.ask("delete_subshell_request", {"subshell_id": subshell}, channel="control")


def test_an_interrupt_of_what_is_evaluated(debug: Dap, kernel: Kernel, how: str) -> None:
    """It ends that, and another one ends the cell; or it ends the cell before that begins. The client is answered."""
    code = "evaluated = 1\nevaluated"
    debug.break_in(code, 2)
    msg_id = debug.client.execute(code)
    thread = debug.stopped()
    frame = debug.frames(thread)[0]["id"]
    arguments = {"expression": "[1 for _ in iter(int, 1)]", "frameId": frame, "context": "repl"}
    content = {"type": "request", "seq": 1000, "command": "evaluate", "arguments": arguments}
    request = debug.client.send("debug_request", content, channel="control")
    deadline = time.monotonic() + 20
    while not debug.client.replied(request, "control"):
        assert time.monotonic() < deadline
        if debug.info()["stoppedThreads"]:
            interrupt(debug.client, kernel, how)
        time.sleep(0.1)
    if debug.info()["stoppedThreads"]:
        interrupt(debug.client, kernel, how)
    assert debug.client.finish(msg_id, timeout=10).error["ename"] == "KeyboardInterrupt"


def test_a_time_limit_ends_a_cell_that_stands(debug: Dap) -> None:
    code = "limited = 1\nwhile limited: pass"
    debug.break_in(code, 1)
    msg_id = debug.client.execute(code, metadata={"tags": ["timeout=1"]})
    debug.stopped()
    assert debug.client.finish(msg_id).error["ename"] == "TimeoutError"
    debug.nothing_stands()


# -- processes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True).stdout",
        "import sys\nout = !{sys.executable} -c 'print(6 * 7)'\nout[0].encode() + b'\\n'",
        "import os\npid = os.fork()\nif not pid: os._exit(7)\nos.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), b'42\\n'",
        "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    found = pool.map(abs, [-42])\nb'%d\\n' % found[0]",
        "import multiprocessing\nwith multiprocessing.get_context('spawn').Pool(2) as pool:\n"
        "    found = pool.map(abs, [-42])\nb'%d\\n' % found[0]",
        "import concurrent.futures as cf\nwith cf.ProcessPoolExecutor(1) as pool:\n"
        "    found = pool.submit(abs, -42).result()\nb'%d\\n' % found",
    ],
)
def test_child_processes_run_to_their_end(debug: Dap, code: str) -> None:
    debug.break_in("never = 1", 1)
    result = debug.client.run(code, timeout=30).result
    assert result is not None
    assert "42" in result


def test_threads_go_on_after_detaching_at_a_stop(debug: Dap) -> None:
    code = TWICE + "twice(8)"
    debug.break_in(code, 2)
    msg_id = debug.client.execute(code)
    debug.stopped()
    debug.detach()
    assert debug.client.finish(msg_id).result == "16"
    debug.nothing_stands()


def test_a_client_that_goes_away_at_a_stop(debug: Dap, kernel: Kernel, client: Client) -> None:
    """The stop stays for whoever comes next."""
    code = TWICE + "twice(9)"
    with kernel.connect() as gone:
        first = Dap(gone).attach()
        first.break_in(code, 2)
        msg_id = client.execute(code)
        first.stopped()
    (thread, *_) = debug.info()["stoppedThreads"]
    debug.go_on(thread)
    assert client.finish(msg_id).result == "18"
