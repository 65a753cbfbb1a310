"""Errors in files and options are told in one line; no message over the wire ends the kernel."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import callboard
import pytest
import zmq
from kernels_by_hand import one_line, start_in_vain, write_connection
from support import TIMEOUT, command, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import Client, Kernel

SOCKETS = ("shell", "control", "stdin", "iopub", "hb")


def test_a_missing_connection_file_is_named(way: str, tmp_path: Path) -> None:
    line = one_line(start_in_vain(way, tmp_path, "-f", str(tmp_path / "missing.json")))
    assert "missing.json" in line


@pytest.mark.parametrize(
    "content", ["", "no json", "[]", '{"shell_port": "many"}', '{"shell_port": 99999}', "\x00\xff", '{"ip": 5}']
)
def test_a_malformed_connection_file_is_named(way: str, tmp_path: Path, content: str) -> None:
    (tmp_path / "broken.json").write_text(content)
    line = one_line(start_in_vain(way, tmp_path, "-f", str(tmp_path / "broken.json")))
    assert "broken.json" in line
    assert "malformed" in line


def test_a_folder_is_no_connection_file(way: str, tmp_path: Path) -> None:
    assert str(tmp_path) in one_line(start_in_vain(way, tmp_path, "-f", str(tmp_path)))


@pytest.mark.parametrize("port", ["shell_port", "control_port", "stdin_port", "iopub_port", "hb_port"])
def test_a_port_in_use_is_named(way: str, tmp_path: Path, port: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        line = one_line(start_in_vain(way, tmp_path, "-f", write_connection(tmp_path, **{port: number})))
    assert str(number) in line
    assert "in use" in line or "uses this port" in line


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"transport": "carrier pigeon"}, "carrier pigeon"),
        ({"ip": "203.0.113.1"}, "203.0.113.1"),
        ({"signature_scheme": "hmac-md5"}, "hmac-md5"),
    ],
)
def test_a_connection_that_cannot_be_is_explained(way: str, tmp_path: Path, changes: dict[str, str], told: str) -> None:
    assert told in one_line(start_in_vain(way, tmp_path, "-f", write_connection(tmp_path, **changes)))


@pytest.mark.parametrize("options", [["--bogus"], ["--bogus=1"], ["-Z"], ["--shell=many"]])
def test_an_unknown_option_is_named(way: str, tmp_path: Path, options: list[str]) -> None:
    told = start_in_vain(way, tmp_path, "-f", write_connection(tmp_path), *options)
    assert options[0].partition("=")[0] in told.splitlines()[0]
    assert "--help" in told


@pytest.mark.parametrize("level", ["loudly", "callboard=loudly"])
def test_a_log_level_that_is_none_is_named(way: str, tmp_path: Path, level: str) -> None:
    assert level in one_line(start_in_vain(way, tmp_path, "-f", write_connection(tmp_path), "--log-level", level))


def test_a_file_on_the_command_line_is_ignored(start_kernel: Callable[..., Kernel]) -> None:
    """`jupyter run script.py` and `jupyter console` hand their own arguments on to the kernel."""
    with start_kernel("script.py").connect() as client:
        assert client.run("1 + 1").result == "2"


def test_help_and_version_are_no_errors(way: str, tmp_path: Path) -> None:
    for option, told in (("--help", "--connection-file"), ("--version", callboard.__version__)):
        done = subprocess.run([*command(way), option], capture_output=True, text=True, timeout=TIMEOUT, check=True)
        assert told in done.stdout
        assert done.stderr == ""


def test_a_runtime_folder_that_cannot_be_written_is_named(way: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    env = {"JUPYTER_RUNTIME_DIR": str(tmp_path / "file" / "below")}
    assert "JUPYTER_RUNTIME_DIR" in one_line(start_in_vain(way, tmp_path, env=env))


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """A Python that has callboard and nothing else, and the environment for it."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", with_pip=False)
    only = folder / "only"
    only.mkdir()
    (only / "callboard").symlink_to(Path(callboard.__file__).parent)
    return str(folder / "venv" / "bin" / "python"), {"PYTHONPATH": str(only)}


def test_a_python_without_ipython_is_told_how_to_get_it(
    way: str, tmp_path: Path, bare_python: tuple[str, dict[str, str]]
) -> None:
    python, env = bare_python
    start = [python, "-m", "callboard"] if way == "module" else [*command(way)[:-1], python]
    done = subprocess.run(
        [*start, "-f", write_connection(tmp_path)],
        env=environment(tmp_path, **env),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    line = one_line(done.stderr)
    assert done.returncode > 0
    assert "Traceback" not in done.stderr
    assert "pip install" in line
    assert "IPython" in line
    assert python in line


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    start = [*command("binary")[:-1], str(tmp_path / "nowhere" / "python"), "-f", write_connection(tmp_path)]
    done = subprocess.run(start, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode > 0
    assert "nowhere/python" in one_line(done.stderr)


def test_options_of_traitlets_are_applied(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel(
        "--HistoryManager.hist_file=:memory:",
        "--InteractiveShell.colors=nocolor",
        "--InteractiveShellApp.exec_lines=configured = 5",
        "--IPCompleter.use_jedi",
        "False",
    )
    with kernel.connect() as client:
        assert client.run("get_ipython().history_manager.hist_file").result == "':memory:'"
        assert client.run("get_ipython().Completer.use_jedi").result == "False"
        assert client.run("configured").result == "5"
        traceback = "\n".join(client.run("1/0").reply["traceback"])
        assert "\x1b[" not in traceback
    assert kernel.terminal == ""


def test_an_unknown_option_of_traitlets_is_a_warning(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel("--NoSuchClass.option=1", "--InteractiveShell.no_such_trait=1", "--Session.key=b'x'")
    with kernel.connect() as client:
        assert client.run("1 + 1").result == "2"
    assert "NoSuchClass" in kernel.terminal
    assert "no_such_trait" in kernel.terminal


def test_a_bad_value_of_a_trait_is_named(way: str, tmp_path: Path) -> None:
    told = start_in_vain(way, tmp_path, "-f", write_connection(tmp_path), "--InteractiveShell.cache_size=many")
    assert "cache_size" in told
    assert "many" in told


def test_a_startup_file_that_fails_does_not_end_the_kernel(start_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-good.py").write_text("from_startup = 'here'\n")
    (startup / "10-broken.py").write_text("1/0\n")
    kernel = start_kernel(IPYTHONDIR=str(tmp_path / "ipython"))
    with kernel.connect() as client:
        assert client.run("from_startup").result == "'here'"
    assert "10-broken.py has failed" in kernel.terminal
    assert "line 1, in <module>\n    1/0\n" in kernel.terminal
    assert "ZeroDivisionError: division by zero" in kernel.terminal


@pytest.fixture
def dealers(kernel: Kernel) -> Iterator[dict[str, zmq.Socket]]:
    """A raw socket to each of the kernel's sockets."""
    info = json.loads(Path(kernel.connection_file).read_text())
    opened = {}
    for name in SOCKETS:
        opened[name] = zmq.Context.instance().socket(zmq.XSUB if name == "iopub" else zmq.DEALER)
        opened[name].linger = 1000
        opened[name].connect(f"tcp://{info['ip']}:{info[f'{name}_port']}")
    yield opened
    for dealer in opened.values():
        dealer.close()


def request(client: Client, msg_type: str = "kernel_info_request", **content: object) -> list[bytes]:
    """The frames of a request with the right signature."""
    session = client.kc.session
    return session.serialize(session.msg(msg_type, content))


def garbage(client: Client) -> list[list[bytes]]:
    """Malformed messages."""
    good = request(client)
    delimiter, signature, *dicts = good
    return [
        [b""],
        [b"", b""],
        [b"garbage"],
        [os.urandom(100)],
        [delimiter],
        [delimiter, signature],
        *([delimiter, signature, *dicts[:n]] for n in range(4)),
        [signature, *dicts],
        [delimiter, b"", *dicts],
        [delimiter, b"0" * 64, *dicts],
        [delimiter, b"\xff" * 64, *dicts],
        [delimiter, signature.upper(), dicts[0] + b" ", *dicts[1:]],
        [delimiter, delimiter, signature, *dicts],
        [delimiter, signature, b"{}", b"{}", b"{}", b"{}"],
        [*([b"ident"] * 50), *good[:3]],
        [b"x" * 1_000_000],
        [delimiter, client.kc.session.sign([b"[", b"{", b"\xff", b""]), b"[", b"{", b"\xff", b""],
        [delimiter, client.kc.session.sign([b"{}"] * 4), b"{}", b"{}", b"{}", b"{}"],
        [delimiter, client.kc.session.sign([b"null"] * 4), b"null", b"null", b"null", b"null"],
    ]


@pytest.mark.parametrize("name", SOCKETS)
def test_garbage_is_dropped_and_the_kernel_lives(
    kernel: Kernel, client: Client, dealers: dict[str, zmq.Socket], name: str
) -> None:
    for frames in garbage(client):
        dealers[name].send_multipart(frames)
    if name in ("shell", "control"):
        # A good one behind them is answered: all of them have been read.
        dealers[name].send_multipart(request(client))
        assert dealers[name].poll(TIMEOUT * 1000)
        while True:
            _, frames = client.kc.session.feed_identities(dealers[name].recv_multipart())
            if client.kc.session.deserialize(frames)["msg_type"] == "kernel_info_reply":
                break
    if name == "hb":
        dealers[name].send_multipart([b"", b"last"])
        while dealers[name].poll(TIMEOUT * 1000) and dealers[name].recv_multipart()[-1] != b"last":
            pass
    assert client.run("'alive'").result == "'alive'"
    assert kernel.alive
    assert "panicked" not in kernel.terminal


def test_a_wrong_signature_is_neither_answered_nor_executed(client: Client, dealers: dict[str, zmq.Socket]) -> None:
    frames = request(client, "execute_request", code="forged = True", silent=False)
    frames[1] = b"0" * len(frames[1])
    dealers["shell"].send_multipart(frames)
    dealers["shell"].send_multipart(request(client))
    assert dealers["shell"].poll(TIMEOUT * 1000)
    _, answer = client.kc.session.feed_identities(dealers["shell"].recv_multipart())
    assert client.kc.session.deserialize(answer)["msg_type"] == "kernel_info_reply"
    assert client.run("'forged' in globals()").result == "False"


def test_a_message_that_is_sent_twice_is_run_once(client: Client, dealers: dict[str, zmq.Socket]) -> None:
    client.run("replayed = 0")
    frames = request(client, "execute_request", code="replayed += 1", silent=False)
    for _ in range(3):
        dealers["shell"].send_multipart(frames)
    dealers["shell"].send_multipart(request(client))
    assert dealers["shell"].poll(TIMEOUT * 1000)
    assert client.run("replayed").result == "1"


@pytest.mark.parametrize("channel", ["shell", "control"])
def test_an_unknown_request_gets_an_error_reply_and_its_idle(client: Client, channel: str) -> None:
    msg_id = client.send("no_such_request", {"a": 1}, channel=channel)
    reply = client.reply(msg_id, channel)
    assert reply["content"]["status"] == "error"
    assert "no_such_request" in reply["content"]["evalue"]
    client.wait_idle(msg_id)


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("execute_request", {}),
        ("execute_request", {"code": 5}),
        ("execute_request", {"code": "1", "user_expressions": "text"}),
        ("complete_request", {}),
        ("complete_request", {"code": "zi", "cursor_pos": 99}),
        ("complete_request", {"code": "zi", "cursor_pos": -5}),
        ("inspect_request", {"code": "zip", "cursor_pos": 99}),
        ("inspect_request", {}),
        ("is_complete_request", {}),
        ("history_request", {"hist_access_type": "odd"}),
        ("history_request", {}),
        ("comm_info_request", {"target_name": 5}),
    ],
)
def test_a_request_with_odd_content_is_answered(client: Client, msg_type: str, content: dict[str, object]) -> None:
    msg_id = client.send(msg_type, content)
    assert client.reply(msg_id)["content"]["status"] in ("ok", "error")
    client.wait_idle(msg_id)
    assert client.run("'alive'").result == "'alive'"


def test_a_comm_message_with_odd_content_is_survived(client: Client) -> None:
    for content in ({}, {"comm_id": 5}, {"comm_id": "x", "data": 5}, {"comm_id": "x", "target_name": []}):
        for msg_type in ("comm_open", "comm_msg", "comm_close"):
            client.wait_idle(client.send(msg_type, content))
    assert client.run("'alive'").result == "'alive'"


def test_the_module_is_the_python_it_is_installed_in(way: str, client: Client) -> None:
    assert client.run("import sys\nsys.executable").result == repr(sys.executable)
    assert client.run("sys.prefix").result == repr(sys.prefix)
    assert way in ("module", "binary")
