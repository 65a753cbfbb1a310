"""Busy is true: the last status says busy as long as code runs, whatever else is answered meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import websocket
from support import TIMEOUT, Client, Deadline, environment, write_kernelspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import Kernel

#: After this many seconds without activity the server ends a kernel that is not busy.
CULL_AFTER = 2


# -- a client of the kernel --------------------------------------------------------------------------------


def statuses(client: Client) -> list[tuple[str, str]]:
    """The type of the request and the state of every status so far."""
    client.read_iopub()
    return [
        (m["parent_header"].get("msg_type", ""), m["content"]["execution_state"])
        for m in client.log
        if m["msg_type"] == "status"
    ]


def test_each_request_keeps_its_busy_and_idle_and_the_last_status_is_busy(client: Client) -> None:
    client.run("import threading\ndone = threading.Event()")
    cell = client.start("print('started')\ndone.wait()")
    begin = client.wait(lambda m: m["parent_header"].get("msg_id") == cell and m["msg_type"] == "status")
    for channel in ("shell", "control"):
        for kind, content in [
            ("complete_request", {"code": "import o", "cursor_pos": 8}),
            ("inspect_request", {"code": "print", "cursor_pos": 5, "detail_level": 0}),
            ("kernel_info_request", {}),
            ("comm_info_request", {}),
            ("list_subshell_request", {}),
        ]:
            msg_id = client.send(kind, content, channel=channel)
            client.reply(msg_id, channel)
            client.wait_idle(msg_id)
            states = [m["content"]["execution_state"] for m in client.published(msg_id) if m["msg_type"] == "status"]
            assert states == ["busy", "idle"], kind
            again = behind(client, client.wait_idle(msg_id))
            assert again["content"] == {"execution_state": "busy"}
            assert again["parent_header"]["msg_id"] == cell
            assert again["header"]["date"] == begin["header"]["date"], "clients take it for the start of the cell"
            assert again["header"]["msg_id"] != begin["header"]["msg_id"]
    client.run("done.set()", channel="control")
    assert client.finish(cell).status == "ok"
    assert statuses(client)[-1] == ("execute_request", "idle")


def behind(client: Client, earlier: dict[str, Any]) -> dict[str, Any]:
    """The next message behind another, waited for."""
    at = client.log.index(earlier) + 1
    client.wait(lambda _message: len(client.log) > at)
    return client.log[at]


#: Cells that run until `done` is set, in each place.
PLACES = {
    "queue": "",
    "task": "# task\n",
    "thread": "# thread\n",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_cell_in_every_place_keeps_the_kernel_busy(client: Client, place: str) -> None:
    client.run("import asyncio, threading\ndone = threading.Event()")
    wait = "while not done.is_set(): await asyncio.sleep(0.01)"
    cell = client.start(f"{PLACES[place]}print('started')\n{wait}")
    again = behind(client, client.wait_idle(client.run("# thread\n1").msg_id))
    assert again["content"] == {"execution_state": "busy"}
    assert again["parent_header"]["msg_id"] == cell
    client.run("done.set()", channel="control")
    client.finish(cell)
    assert statuses(client)[-1] == ("execute_request", "idle")


def test_a_client_that_comes_during_a_cell_sees_busy(kernel: Kernel, client: Client) -> None:
    client.run("import threading\ndone = threading.Event()")
    cell = client.start("print('started')\ndone.wait()")
    with kernel.connect() as second:
        busy = second.wait(lambda m: m["msg_type"] == "status")
        assert busy["content"]["execution_state"] == "busy"
        assert busy["parent_header"]["msg_id"] == cell
        second.run("done.set()", channel="control")
    assert client.finish(cell).status == "ok"
    with kernel.connect() as third:
        third.run("1")
        assert statuses(third) == [("execute_request", "busy"), ("execute_request", "idle")]


# -- jupyter_server ----------------------------------------------------------------------------------------


class Server:
    """A jupyter_server that ends idle kernels, also those that a client is connected to."""

    def __init__(self, folder: Path, way: str) -> None:
        write_kernelspec(folder / "data", way)
        self._token = secrets.token_hex(16)
        self._log = (folder / "server.log").open("w+")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"),
                *("--ServerApp.port=0", f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={self._token}"),
                *(f"--MappingKernelManager.cull_idle_timeout={CULL_AFTER}", "--MappingKernelManager.cull_interval=1"),
                "--MappingKernelManager.cull_connected=True",
            ],
            # The path comes before the kernelspecs of the environment.
            env=environment(folder, JUPYTER_PATH=str(folder / "data"), JUPYTER_DATA_DIR=str(folder / "own")),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._url = ""
        self._wait_until_it_serves(folder / "runtime")

    def _wait_until_it_serves(self, runtime: Path) -> None:
        deadline = Deadline()
        while not self._url:
            deadline.left("the server's start")
            assert self.process.poll() is None, self.log
            time.sleep(0.05)
            # The file comes before the server accepts connections.
            with contextlib.suppress(StopIteration, ValueError, OSError):
                self._url = json.loads(next(runtime.glob("jpserver-*.json")).read_text())["url"]
                try:
                    self.ask("GET", "status")
                except urllib.error.URLError:
                    self._url = ""

    @property
    def log(self) -> str:
        """What the server has written to its terminal."""
        self._log.flush()
        self._log.seek(0)
        return self._log.read()

    def ask(self, method: str, path: str, **content: Any) -> Any:
        """The answer to a request of the REST API."""
        headers = {"Authorization": f"token {self._token}"}
        data = json.dumps(content).encode() if content else None
        request = urllib.request.Request(f"{self._url}api/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.loads(answer.read() or "null")

    def state(self, kernel_id: str) -> str:
        """What the server takes a kernel for: idle, busy, or ended."""
        try:
            return self.ask("GET", f"kernels/{kernel_id}")["execution_state"]
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return "ended"

    def wait_for(self, kernel_id: str, state: str) -> None:
        """Waits until the server takes a kernel for this. It has a subscription of its own: a page may know earlier."""
        deadline = Deadline()
        while (found := self.state(kernel_id)) != state:
            assert found != "ended", self.log
            deadline.left(f"{kernel_id} to be {state}")
            time.sleep(0.1)

    def connect(self, kernel_id: str) -> Connection:
        """A page that is connected to a kernel."""
        url = f"{self._url.replace('http', 'ws', 1)}api/kernels/{kernel_id}/channels?token={self._token}"
        return Connection(websocket.create_connection(url, timeout=TIMEOUT))

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


class Connection:
    """A page's connection to a kernel, with the protocol of JSON messages."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket
        self._session = uuid.uuid4().hex

    def send(self, msg_type: str, content: dict[str, Any]) -> str:
        """Sends a request on shell; returns its id."""
        msg_id = uuid.uuid4().hex
        header = {"msg_id": msg_id, "msg_type": msg_type, "session": self._session, "username": "", "version": "5.4"}
        message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
        self._socket.send(json.dumps(message))
        return msg_id

    def wait(self, msg_id: str, msg_type: str, **content: Any) -> dict[str, Any]:
        """Waits for a message that a request has caused."""
        deadline = Deadline()
        while True:
            deadline.left(f"{msg_type} of {msg_id}")
            message = json.loads(self._socket.recv())
            is_it = message["parent_header"].get("msg_id") == msg_id and message["msg_type"] == msg_type
            if is_it and content.items() <= message["content"].items():
                return message

    def execute(self, code: str) -> str:
        """Sends a cell; returns its id."""
        return self.send("execute_request", {"code": code, "silent": False})

    def complete(self) -> None:
        """Asks for a completion, and waits until the server has passed on its idle."""
        msg_id = self.send("complete_request", {"code": "impo", "cursor_pos": 4})
        self.wait(msg_id, "status", execution_state="idle")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def server(tmp_path: Path, way: str) -> Iterator[Server]:
    """A server that the test has for itself."""
    running = Server(tmp_path, way)
    try:
        yield running
    finally:
        running.close()


def test_jupyter_server_ends_idle_kernels_and_none_that_computes(server: Server, tmp_path: Path) -> None:
    computes = server.ask("POST", "kernels", name="callboard")["id"]
    page = server.connect(computes)
    release = tmp_path / "release"
    os.mkfifo(release)
    cell = page.execute(f"print('started')\nopen({str(release)!r}).read()")
    page.wait(cell, "stream")
    page.complete()
    page.wait(cell, "status", execution_state="busy")
    server.wait_for(computes, "busy")
    # A page that is loaded meanwhile is told so, and asks what kernel this is, for the comms and for history.
    second = server.connect(computes)
    second.wait(cell, "status", execution_state="busy")
    history = {"hist_access_type": "tail", "n": 1, "output": False, "raw": True}
    for kind, content in [("kernel_info_request", {}), ("comm_info_request", {}), ("history_request", history)]:
        second.wait(second.send(kind, content), "status", execution_state="idle")
        second.wait(cell, "status", execution_state="busy")
    server.wait_for(computes, "busy")
    # A kernel that was started later and does nothing is ended before.
    idle = server.ask("POST", "kernels", name="callboard")["id"]
    server.wait_for(idle, "ended")
    assert server.state(computes) == "busy"
    release.write_text("")
    page.wait(cell, "status", execution_state="idle")
    server.wait_for(computes, "ended")
    page.close()
    second.close()
