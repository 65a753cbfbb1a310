"""Sessions of the debugger: attaching, a second client, detaching; and requests that are wrong."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dap import INITIALIZE, Dap

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client, Kernel

COUNT = """\
import sys, threading, time
def calls_a_second():
    def called(): pass
    begin = time.perf_counter()
    for _ in range(200_000): called()
    return 200_000 / (time.perf_counter() - begin)
"""


def test_a_kernel_that_is_not_debugged_imports_no_debugger(fresh_client: Client) -> None:
    """`debugInfo` and `inspectVariables` work, and start nothing."""
    debug = Dap(fresh_client)
    fresh_client.run("value = 5")
    info = debug.info()
    assert info["isStarted"] is False
    assert info["breakpoints"] == info["stoppedThreads"] == []
    assert info["hashMethod"] == "Murmur2"
    assert (info["tmpFilePrefix"], info["tmpFileSuffix"]) == (os.path.dirname(debug.cell("1")) + "/", ".py")
    assert [each["name"] for each in debug.do("inspectVariables")["variables"]] == ["value"]
    loaded = fresh_client.run("import sys\n[name for name in ('debugpy', 'pydevd') if name in sys.modules]").result
    assert loaded == "[]"
    assert fresh_client.run("sys.gettrace()").result is None


def test_kernel_info_says_that_there_is_a_debugger(client: Client) -> None:
    info = client.ask("kernel_info_request")
    assert info["debugger"] is True
    assert "debugger" in info["supported_features"]


def test_the_kernelspec_says_that_there_is_a_debugger(way: str) -> None:
    from jupyter_client.kernelspec import KernelSpecManager

    assert way
    assert KernelSpecManager().get_kernel_spec("callboard").metadata["debugger"] is True


def test_full_speed_after_detaching(start_kernel: Callable[..., Kernel]) -> None:
    """Also in threads that were there before, and in those that began meanwhile."""
    threads = """
def at_work(at):
    while True:
        asked[at].acquire()
        speeds[at] = calls_a_second()
        answered.release()
asked, speeds, answered = {}, {}, threading.Semaphore(0)
def begin(at):
    asked[at] = threading.Semaphore(0)
    threading.Thread(target=at_work, args=(at,), daemon=True).start()
def measure(at):
    asked[at].release(); answered.acquire()
    return speeds[at]
"""
    with start_kernel().connect() as client:
        client.run(COUNT + threads)

        def speeds() -> dict[str, float]:
            found: dict[str, float] = {"main": 0, **dict.fromkeys(at, 0)}
            for _ in range(3):
                found["main"] = max(found["main"], float(client.run("calls_a_second()").result or 0))
                found["thread"] = max(
                    found.get("thread", 0), float(client.run("# thread name=worker\ncalls_a_second()").result or 0)
                )
                for name in at:
                    found[name] = max(found[name], float(client.run(f"measure({name!r})").result or 0))
            return found

        at = ["before"]
        client.run("begin('before')")
        before = speeds()
        debug = Dap(client).attach()
        client.run("begin('meanwhile')")
        debug.break_in("def f():\n    pass\nf()", 2)
        client.run("measure('before'), measure('meanwhile')")
        debug.detach()
        at.append("meanwhile")
        after = speeds()
        assert client.run("sys.gettrace(), threading.gettrace()").result == "(None, None)"
        for name, speed in after.items():
            assert speed > 0.5 * before.get(name, before["main"]), (name, before, after)


def test_attaching_again(off: Dap) -> None:
    code = "def again(x):\n    y = x + 1\n    return y\nagain(1)"
    for _ in range(3):
        off.attach()
        off.break_in(code, 2)
        msg_id = off.client.execute(code)
        thread = off.stopped("breakpoint")
        assert off.where(thread) == ("again", 2)
        off.go_on(thread)
        assert off.client.finish(msg_id).result == "2"
        off.detach()
        assert off.info()["breakpoints"] == []
        assert off.client.run(code).result == "2"


def test_the_order_of_vs_code(off: Dap) -> None:
    """It asks what is there, has the cell say that its thread is debugged, dumps cells, sets breakpoints, and says that
    it is done."""
    client = off.client
    assert int(client.run("import ipykernel; print(ipykernel.__version__)").stdout.split(".")[0]) >= 6
    off.do("initialize", **INITIALIZE)
    off.info()
    off.do("attach", justMyCode=True, name="cell", type="Python Kernel Debug Adapter", request="attach", rules=[])
    off.event("initialized")
    client.run("import debugpy\ndebugpy.debug_this_thread()", silent=True, store_history=False)
    code = "total = 0\nfor n in range(3):\n    total += n\ntotal"
    path = off.break_in(code, 3)
    off.do("setExceptionBreakpoints", filters=[])
    off.do("configurationDone")
    msg_id = client.execute(code)
    for n in range(3):
        thread = off.stopped("breakpoint")
        assert off.frames(thread)[0]["source"]["path"] == path
        assert off.evaluate(thread, "n", "hover") == str(n)
        off.go_on(thread)
    assert client.finish(msg_id).result == "3"
    off.detach()


def test_run_by_line_of_vs_code(off: Dap) -> None:
    """A breakpoint on each line of the cell, and a step for each press of a key."""
    off.attach(justMyCode=True)
    code = "a = 1\nb = 2\n\nc = a + b\nc"
    off.break_in(code, 1)
    msg_id = off.client.execute(code)
    thread = off.stopped("breakpoint")
    lines = [off.where(thread)[1]]
    for _ in range(3):
        off.do("next", threadId=thread)
        thread = off.stopped("step")
        lines.append(off.where(thread)[1])
    assert lines == [1, 2, 4, 5]
    off.do("next", threadId=thread)
    assert off.client.finish(msg_id).result == "3"
    assert off.client.run("'the next cell'").result == "'the next cell'"


def test_a_second_client_finds_what_the_first_has_left(debug: Dap, kernel: Kernel) -> None:
    """A page that is reloaded while a thread stands."""
    code = "def reloaded(x):\n    y = x * 2\n    return y\nreloaded(3)"
    path = debug.break_in(code, 2, condition="x == 3")
    msg_id = debug.client.execute(code)
    thread = debug.stopped("breakpoint")
    with kernel.connect() as other:
        second = Dap(other)
        info = second.info()
        assert info["isStarted"] is True
        assert info["stoppedThreads"][0] == thread
        (of_cell,) = info["breakpoints"]
        assert of_cell == {"source": path, "breakpoints": [{"line": 2, "condition": "x == 3"}]}
        second.attach()
        assert second.where(thread) == ("reloaded", 2)
        assert second.locals(thread)["x"] == "3"
        second.go_on(thread)
        second.event("continued")
        assert second.info()["stoppedThreads"] == []
    assert debug.client.finish(msg_id).result == "6"


def test_two_clients_with_the_same_numbers(debug: Dap, kernel: Kernel) -> None:
    with kernel.connect() as other:
        second = Dap(other)
        second._seq = debug._seq
        ids = [
            (
                each,
                each.client.send(
                    "debug_request", {"type": "request", "seq": 99, "command": command}, channel="control"
                ),
            )
            for command in ("threads", "debugInfo", "modules") * 5
            for each in (debug, second)
        ]
        for at, (each, msg_id) in enumerate(ids):
            response = each.client.reply(msg_id, "control")["content"]
            assert response["command"] == ("threads", "debugInfo", "modules")[at // 2 % 3]
            assert (response["request_seq"], response["success"]) == (99, True)


def test_everything_answers_while_a_thread_stands(debug: Dap) -> None:
    client = debug.client
    code = "def still():\n    here = 1\n    return here\nstill()"
    debug.break_in(code, 2)
    msg_id = client.execute(code)
    thread = debug.stopped()
    for channel in ("control", "shell"):
        begin = time.monotonic()
        assert client.ask("kernel_info_request", channel=channel)["status"] == "ok"
        assert time.monotonic() - begin < 5
    assert "sorted" in client.ask("complete_request", {"code": "sort", "cursor_pos": 4})["matches"]
    assert client.ask("usage_request", channel="control")["kernel_cpu"] >= 0
    debug.go_on(thread)
    assert client.finish(msg_id).result == "1"


BAD: list[tuple[Any, str]] = [
    ({}, "no command"),
    ({"seq": 5}, "no command"),
    ({"type": "event", "event": "stopped"}, "type"),
    ({"type": "request", "seq": "5", "command": "threads"}, "invalid type"),
    ({"type": "request", "seq": 5, "command": 7}, "invalid type"),
    ({"type": "request", "seq": 5, "command": "threads", "arguments": []}, ""),
    ({"type": "request", "seq": 5, "command": "no such thing", "arguments": {}}, "no such thing"),
    ({"type": "request", "seq": 5, "command": "dumpCell", "arguments": {}}, "dumpCell"),
    ({"type": "request", "seq": 5, "command": "dumpCell", "arguments": {"code": 7}}, "dumpCell"),
    ({"type": "request", "seq": 5, "command": "source", "arguments": {"source": {"path": "/no/file"}}}, "/no/file"),
    ({"type": "request", "seq": 5, "command": "setBreakpoints", "arguments": {"breakpoints": 5}}, "setBreakpoints"),
    ({"type": "request", "seq": 5, "command": "variables", "arguments": {"variablesReference": 99999}}, ""),
    ({"type": "request", "seq": 5, "command": "variables", "arguments": {"variablesReference": 1 << 41}}, "reference"),
    ({"type": "request", "seq": 5, "command": "richInspectVariables", "arguments": {"variableName": "1/0"}}, "name"),
    ({"type": "request", "seq": 5, "command": "richInspectVariables"}, "name"),
    ({"type": "request", "seq": 5, "command": "copyToGlobals", "arguments": {}}, "copyToGlobals"),
    ({"type": "request", "seq": 5, "command": "stackTrace", "arguments": {"threadId": 987654}}, ""),
    ({"type": "request", "seq": 5, "command": "evaluate", "arguments": {"expression": "1", "frameId": 1234}}, ""),
    ({"type": "request", "seq": 5, "command": "evaluate", "arguments": {}}, ""),
    ({"type": "request", "seq": 5, "command": "next", "arguments": {"threadId": "all"}}, ""),
]


@pytest.mark.parametrize("attached", [False, True])
def test_a_wrong_request_is_answered(off: Dap, attached: bool) -> None:
    """In the form of the protocol, with what was wrong; and the session lives."""
    if attached:
        off.attach()
    for content, why in BAD:
        response = off.client.ask("debug_request", content, channel="control")
        assert response["type"] == "response", content
        assert response["request_seq"] == (content.get("seq") if isinstance(content.get("seq"), int) else 0)
        if why:
            assert response["success"] is False, content
            assert why in response["message"] or not attached, (content, response)
    assert off.info()["isStarted"] is attached
    if attached:
        assert off.do("threads")["threads"]


def test_a_source_that_is_no_cell(debug: Dap, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("x = 1\n")
    assert debug.do("source", source={"path": str(file)})["content"] == "x = 1\n"
    assert debug.ask("source", source={"path": str(tmp_path)})["success"] is False
    (found,) = debug.break_at(str(tmp_path / "missing.py"), 1)
    assert found["verified"] in (True, False)
    debug.break_at(str(tmp_path / "missing.py"))


def test_requests_before_attaching_say_what_to_do(off: Dap) -> None:
    for command in ("attach", "setBreakpoints", "stackTrace", "continue", "configurationDone", "evaluate", "threads"):
        response = off.ask(command, source={"path": "x"}, threadId=1)
        assert not response["success"]
        assert "initialize" in response["message"]
    off.detach()


def test_without_debugpy_a_sentence_says_what_to_install(start_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    (tmp_path / "debugpy.py").write_text("raise ImportError('No module named debugpy')")
    with start_kernel(PYTHONPATH=str(tmp_path)).connect() as client:
        debug = Dap(client)
        response = debug.ask("initialize", **INITIALIZE)
        assert not response["success"]
        assert "pip install 'callboard[debug]'" in response["message"]
        assert debug.info()["isStarted"] is False
        assert client.run("'alive'").result == "'alive'"
        assert debug.ask("initialize", **INITIALIZE)["success"] is False


def test_cells_are_for_their_owner_alone_and_gone_at_the_end(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel()
    with kernel.connect() as client:
        debug = Dap(client)
        path = Path(debug.cell("\n\nsecret = 1"))
        assert path.read_text() == "\n\nsecret = 1"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert client.run("import inspect\n'ok'").result == "'ok'"
        client.send("shutdown_request", {"restart": False}, channel="control")
        assert kernel.wait_end(20) == 0
    assert not path.parent.exists()


@pytest.mark.parametrize("restart", [False, True])
def test_a_kernel_shuts_down_while_a_thread_stands(start_kernel: Callable[..., Kernel], restart: bool) -> None:
    kernel = start_kernel()
    with kernel.connect() as client:
        debug = Dap(client).attach()
        code = "for n in range(100):\n    print(n)"
        debug.break_in(code, 2)
        client.execute(code)
        debug.stopped()
        begin = time.monotonic()
        reply = client.ask("shutdown_request", {"restart": restart}, channel="control")
        assert reply == {"status": "ok", "restart": restart}
        assert kernel.wait_end(20) == 0
        assert time.monotonic() - begin < 5


def test_it_has_no_text_about_frozen_modules(start_kernel: Callable[..., Kernel]) -> None:
    """And its variables are not left to child processes."""
    kernel = start_kernel()
    with kernel.connect() as client:
        debug = Dap(client).attach()
        run = client.run("import os\n[name for name in os.environ if 'PYDEVD' in name.upper()]")
        assert (run.result, run.stdout, run.stderr) == ("[]", "", "")
        debug.detach()
    assert "frozen" not in kernel.terminal
    assert "0.00s" not in kernel.terminal


def test_a_client_from_the_shell(start_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    """The debugger is reached with `jupyter_client` alone."""
    kernel = start_kernel()
    program = tmp_path / "debug.py"
    program.write_text(
        "import sys\nfrom jupyter_client import BlockingKernelClient\n"
        "client = BlockingKernelClient(connection_file=sys.argv[1])\nclient.load_connection_file()\n"
        "client.start_channels()\nclient.wait_for_ready(30)\n"
        "message = client.session.msg('debug_request', {'seq': 1, 'type': 'request', 'command': 'debugInfo'})\n"
        "client.control_channel.send(message)\nprint(client.control_channel.get_msg(timeout=30)['content'])\n"
        "client.stop_channels()\n"
    )
    done = subprocess.run(
        [sys.executable, str(program), kernel.connection_file], capture_output=True, text=True, timeout=60, check=True
    )
    assert "'isStarted': False" in done.stdout


def test_events_name_the_request_that_attached(debug: Dap) -> None:
    """Clients show events by their parent: a debug_request."""
    code = "named = 1"
    debug.break_in(code, 1)
    msg_id = debug.client.execute(code)
    thread = debug.stopped()
    event = next(m for m in reversed(debug.client.log) if m["msg_type"] == "debug_event")
    assert event["parent_header"]["msg_type"] == "debug_request"
    assert json.dumps(event["content"])
    debug.go_on(thread)
    debug.client.finish(msg_id)
