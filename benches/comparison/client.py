"""A running kernel and a thin client of it.

The client is pyzmq, json and hmac and nothing else, and reads of a message no more than it is asked for, so that what
is measured is the kernel. Every wait has a deadline; what does not come in time raises `KernelError`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .kernels import Spec

DELIMITER = b"<IDS|MSG>"

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")

#: The longest a kernel may take to start, seconds.
START = 30.0

#: The longest a kernel may take for one answer, seconds, where a workload does not say otherwise.
ANSWER = 15.0

#: Time after a refused connection until the client tries again, ms: the resolution of the measured start.
RECONNECT = 5

#: The longest wait without a check that the kernel still runs, ms.
STEP = 1000

now = time.perf_counter


class KernelError(Exception):
    """A kernel did not do what was asked of it. The text says what, for the page."""


def execution(code: str) -> dict[str, Any]:
    """The content of an execute_request."""
    return {
        "code": code,
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }


class Message(dict[str, Any]):
    """The parts of a message that workloads use: ``type``, ``parent`` (the id of the request), ``content`` and
    ``buffers``. Each is decoded when it is asked for: all at once would take as long as a kernel takes to make it."""

    def __init__(self, frames: list[bytes]) -> None:
        super().__init__()
        self._frames = frames
        try:
            start = frames.index(DELIMITER)
            self._header, self._parent, _, self._content = frames[start + 2 : start + 6]
        except ValueError as error:
            raise _malformed(error) from error
        self._buffers = start + 6

    def __missing__(self, key: str) -> Any:
        try:
            self[key] = value = self._decode(key)
        except (ValueError, KeyError, AttributeError) as error:
            raise _malformed(error) from error
        return value

    def _decode(self, key: str) -> Any:
        match key:
            case "type":
                return json.loads(self._header)["msg_type"]
            case "parent":
                # Some messages of xeus-python belong to no request and have null here.
                return (json.loads(self._parent) or {}).get("msg_id")
            case "content":
                return json.loads(self._content)
        assert key == "buffers", key
        return self._frames[self._buffers :]

    def is_a(self, msg_type: str) -> bool:
        """Whether it is of this type."""
        return msg_type.encode() in self._header and self["type"] == msg_type

    def is_for(self, msg_id: str) -> bool:
        """Whether it belongs to this request."""
        return msg_id.encode() in self._parent and self["parent"] == msg_id

    def is_idle(self) -> bool:
        """Whether it is the idle status of a request."""
        # A quick check: a longer message is no status.
        if len(self._content) > 100 or b'"idle"' not in self._content:
            return False
        return self.is_a("status") and self["content"]["execution_state"] == "idle"


def _malformed(error: Exception) -> KernelError:
    return KernelError(f"a message that is not of the protocol: {error!r}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Kernel:
    """A kernel in a process of its own, with a client connected to it. To be closed: `with Kernel(spec) as kernel`."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._folder = Path(tempfile.mkdtemp(prefix="callboard-bench-"))
        self._key = uuid.uuid4().hex
        self.connection = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True)) | {
            "ip": "127.0.0.1",
            "transport": "tcp",
            "key": self._key,
            "signature_scheme": "hmac-sha256",
            "kernel_name": "bench",
        }
        file = self._folder / "kernel-bench.json"
        file.touch(0o600)
        file.write_text(json.dumps(self.connection))
        self._terminal = self._folder / "terminal"
        # Nothing of the user's own settings, and the history in a file that belongs to this kernel.
        env = {k: v for k, v in os.environ.items() if not k.startswith(("JPY_", "CALLBOARD_", "PYTHON"))}
        env |= spec.env | {"IPYTHONDIR": str(self._folder)}
        self.started = now()
        with self._terminal.open("wb") as terminal:
            self.process = subprocess.Popen(
                spec.command(str(file)),
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=terminal,
                start_new_session=True,
            )
        self._context = zmq.Context()
        self._session = uuid.uuid4().hex
        self._late: dict[str, dict[str, Message]] = {}
        self._sockets = {
            "shell": self._socket(zmq.DEALER, "shell_port"),
            "control": self._socket(zmq.DEALER, "control_port"),
            "iopub": self._socket(zmq.SUB, "iopub_port"),
            "hb": self._socket(zmq.REQ, "hb_port"),
        }

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _socket(self, kind: int, port: str) -> zmq.Socket[bytes]:
        made = self._context.socket(kind)
        made.linger = 0
        # No high-water mark: the client itself must not drop messages.
        made.sndhwm = made.rcvhwm = 0
        # Waits in steps, because no message says that a kernel has died.
        made.rcvtimeo = STEP
        # It connects before the kernel has bound its sockets; libzmq would try again every 100 ms.
        made.reconnect_ivl = RECONNECT
        if kind == zmq.DEALER:
            made.identity = self._session.encode()
        if kind == zmq.SUB:
            made.subscribe(b"")
        made.connect(f"tcp://127.0.0.1:{self.connection[port]}")
        return made

    # -- messages

    def send(
        self,
        channel: str,
        msg_type: str,
        content: dict[str, Any],
        *,
        buffers: Iterable[bytes] = (),
        subshell: str | None = None,
    ) -> str:
        """Sends a request; gives its id."""
        msg_id, frames = self.prepare(msg_type, content, buffers=buffers, subshell=subshell)
        self.dispatch(channel, frames)
        return msg_id

    def prepare(
        self,
        msg_type: str,
        content: dict[str, Any],
        *,
        buffers: Iterable[bytes] = (),
        subshell: str | None = None,
    ) -> tuple[str, list[bytes]]:
        """A request that is signed and not sent; gives its id and its frames."""
        msg_id = uuid.uuid4().hex
        header = {
            "msg_id": msg_id,
            "session": self._session,
            "username": "bench",
            "date": "2026-01-01T00:00:00.000000Z",
            "msg_type": msg_type,
            "version": "5.4",
        }
        if subshell is not None:
            header["subshell_id"] = subshell
        parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
        signature = hmac.new(self._key.encode(), digestmod=hashlib.sha256)
        for part in parts:
            signature.update(part)
        return msg_id, [DELIMITER, signature.hexdigest().encode(), *parts, *buffers]

    def dispatch(self, channel: str, frames: list[bytes]) -> None:
        """Sends what `prepare` has made."""
        self._sockets[channel].send_multipart(frames)

    def execute(self, code: str, *, subshell: str | None = None) -> str:
        """Sends a cell; gives the id of its request."""
        return self.send("shell", "execute_request", execution(code), subshell=subshell)

    def receive(self, channel: str, timeout: float = ANSWER, missing: str = "") -> Message:
        """The next message on a channel; `missing` is what is said if it does not come."""
        socket = self._sockets[channel]
        end = now() + timeout
        while True:
            left = end - now()
            if left * 1000 < STEP and not socket.poll(max(0, int(left * 1000))):
                raise KernelError(missing or f"no message on {channel} in {timeout:g} s")
            with contextlib.suppress(zmq.Again):
                return Message(socket.recv_multipart())
            if self.process.poll() is not None:
                raise KernelError(f"the kernel ended with exit code {self.process.returncode}")

    def reply(self, channel: str, msg_id: str, timeout: float = ANSWER) -> Message:
        """The reply to this request; replies to others are kept."""
        end = now() + timeout
        late = self._late.setdefault(channel, {})
        while msg_id not in late:
            message = self.receive(channel, end - now(), f"no reply on {channel} in {timeout:g} s")
            if message.is_for(msg_id):
                return message
            late[message["parent"]] = message
        return late.pop(msg_id)

    def until_idle(self, msg_id: str, timeout: float = ANSWER) -> list[Message]:
        """The messages published for this request, up to its idle."""
        end = now() + timeout
        messages = []
        while True:
            message = self.receive("iopub", end - now(), f"not idle after {timeout:g} s")
            if message.is_for(msg_id):
                messages.append(message)
                if message.is_idle():
                    return messages

    def until(self, msg_type: str, msg_id: str | None = None, timeout: float = ANSWER) -> Message:
        """The next message of this type that is published, for this request if one is named."""
        end = now() + timeout
        while True:
            message = self.receive("iopub", end - now(), f"no {msg_type} in {timeout:g} s")
            if message.is_a(msg_type) and (msg_id is None or message.is_for(msg_id)):
                return message

    def run(self, code: str, timeout: float = ANSWER) -> list[Message]:
        """Executes a cell that has to succeed; gives what it published."""
        msg_id = self.execute(code)
        reply = self.reply("shell", msg_id, timeout)
        check_ok(reply)
        return self.until_idle(msg_id, timeout)

    def waiting(self, channel: str) -> bool:
        """Whether a message has arrived on this channel."""
        return bool(self._sockets[channel].poll(0))

    def ask_and_beat(self, timeout: float) -> tuple[float, float]:
        """A kernel_info_request on control and a heartbeat at the same time; gives the seconds until each answer."""
        control, heartbeat = self._sockets["control"], self._sockets["hb"]
        poller = zmq.Poller()
        poller.register(control, zmq.POLLIN)
        poller.register(heartbeat, zmq.POLLIN)
        took: dict[zmq.Socket[bytes], float] = {}
        begin = now()
        self.send("control", "kernel_info_request", {})
        heartbeat.send(b"ping")
        while len(took) < 2:
            ready = poller.poll(int(timeout * 1000))
            if not ready:
                raise KernelError(f"no answer on {'control' if control not in took else 'heartbeat'} in {timeout:g} s")
            for one, _ in ready:
                took[one] = now() - begin
                one.recv_multipart()
        return took[control], took[heartbeat]

    def settle(self, quiet: float = 0.1) -> None:
        """Drops messages until none has come for `quiet` seconds."""
        self._late.clear()
        poller = zmq.Poller()
        channels = [self._sockets[name] for name in ("shell", "control", "iopub")]
        for channel in channels:
            poller.register(channel, zmq.POLLIN)
        while ready := poller.poll(int(quiet * 1000)):
            for channel, _ in ready:
                channel.recv_multipart()

    def subscribers(self, count: int) -> list[zmq.Socket[bytes]]:
        """The client's own subscription to iopub and as many more as make `count`; each of them works."""
        made = [self._sockets["iopub"], *(self._socket(zmq.SUB, "iopub_port") for _ in range(count - 1))]
        for one in made:
            self._connected(one)
        for one in made:
            while one.poll(200):
                one.recv_multipart()
        return made

    def _connected(self, subscriber: zmq.Socket[bytes]) -> None:
        """Waits until the kernel knows of this subscription: what it publishes before is lost."""
        end = now() + ANSWER
        while not subscriber.poll(20):
            if now() > end:
                raise KernelError(f"a subscriber got nothing in {ANSWER:g} s")
            self.reply("shell", self.send("shell", "kernel_info_request", {}))

    # -- the process

    def ready(self) -> float:
        """Waits for the first kernel_info_reply; gives the seconds since the start of the process."""
        asked = set()
        while now() < self.started + START:
            if self.process.poll() is not None:
                raise KernelError(f"the kernel ended with exit code {self.process.returncode} before it answered")
            # Anew each time: it may not have bound its sockets yet.
            asked.add(self.send("shell", "kernel_info_request", {}))
            if self._sockets["shell"].poll(100) and self.receive("shell")["parent"] in asked:
                return now() - self.started
        raise KernelError(f"no kernel_info_reply in {START:g} s")

    def subscribed(self) -> None:
        """Waits until iopub works."""
        self._connected(self._sockets["iopub"])
        self.settle()

    def interrupt(self) -> None:
        """Interrupts the cell in the way that the kernelspec asks for."""
        if self.spec.interrupt_mode == "message":
            self.send("control", "interrupt_request", {})
        else:
            os.kill(self.process.pid, signal.SIGINT)

    def memory(self) -> float:
        """Resident memory of the kernel and its children, MB."""
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.process.pid)
            return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20
        raise KernelError("the kernel has ended")

    def peak_memory(self) -> float:
        """The most resident memory that the process has ever had, MB. Where the system does not say: what it has."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return self.memory()

    def wait(self, timeout: float) -> None:
        """Waits until the process has ended."""
        # Not Popen.wait with a timeout, which looks every 50 ms.
        ended = threading.Thread(target=self.process.wait, daemon=True)
        ended.start()
        ended.join(timeout)
        if ended.is_alive():
            raise KernelError(f"not ended in {timeout:g} s")

    def cpu_seconds(self) -> float:
        """Processor time that the process has used, seconds."""
        import psutil

        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def close(self) -> None:
        """Kills the kernel and its child processes."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._context.destroy(linger=0)
        shutil.rmtree(self._folder, ignore_errors=True)


def check_ok(reply: Message) -> None:
    """Raises `KernelError` unless this reply says ok."""
    content = reply["content"]
    if content.get("status") != "ok":
        what = content.get("ename") or content.get("status")
        raise KernelError(f"{reply['type']}: {what}: {content.get('evalue', '')}"[:120].rstrip(": "))
