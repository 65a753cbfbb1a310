"""Starts kernels and talks to them as a frontend does.

Nothing here sleeps: everything waits for a message, or for a process to end, with a deadline for the whole.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zmq
from jupyter_client import BlockingKernelClient, KernelManager
from jupyter_client.kernelspec import KernelSpecManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Message = dict[str, Any]
    Condition = Callable[[Message], bool]

#: The longest that a single wait may take before a test fails, seconds. Generous, because it measures nothing.
TIMEOUT = 60.0

REPOSITORY = Path(__file__).resolve().parents[2]

#: Whether this is the free-threaded build of Python.
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

#: The two ways of starting a kernel.
WAYS = ("module", "binary")


def kernel_binary() -> Path:
    """The `kernel` binary that the tests run."""
    given = os.environ.get("CALLBOARD_KERNEL_BIN")
    candidates = [REPOSITORY / "target" / profile / "kernel" for profile in ("release", "debug")]
    for path in [Path(given)] if given else candidates:
        if path.is_file():
            return path
    pytest.fail(
        f"there is no {given or ' and no '.join(map(str, candidates))}: build it with `cargo build --release`, "
        "or name one in CALLBOARD_KERNEL_BIN",
        pytrace=False,
    )


def command(way: str, python: str = sys.executable) -> list[str]:
    """The command line that starts a kernel this way, with this interpreter, without the connection file."""
    if way == "module":
        return [python, "-m", "callboard"]
    return [str(kernel_binary()), "--python", python]


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """The environment of a kernel that shares no file with another one, nor with the user's."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("JPY_", "CALLBOARD_", "MPLBACKEND"))
    }
    env.update(
        IPYTHONDIR=str(folder / "ipython"),
        JUPYTER_RUNTIME_DIR=str(folder / "runtime"),
        JUPYTER_CONFIG_DIR=str(folder / "config"),
    )
    env.update(changes)
    return env


def write_kernelspec(
    folder: Path, way: str, *options: str, wrapper: tuple[str, ...] = (), python: str = sys.executable
) -> KernelSpecManager:
    """Makes a kernelspec `callboard` that starts a kernel this way, and a manager that knows only it. `wrapper` is a
    command that starts the command behind it; `python` the interpreter."""
    spec = {
        "argv": [*wrapper, *command(way, python), "-f", "{connection_file}", *options],
        "display_name": f"callboard, {way}",
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {"supported_encryption": ["curve"]},
    }
    place = folder / "kernels" / "callboard"
    place.mkdir(parents=True, exist_ok=True)
    (place / "kernel.json").write_text(json.dumps(spec))
    return KernelSpecManager(kernel_dirs=[str(folder / "kernels")], ensure_native_kernel=False)


def parent_id(message: Message) -> str | None:
    """The id of the request that a message belongs to."""
    return message["parent_header"].get("msg_id")


def without_colours(text: str) -> str:
    """Removes the escape sequences that colour text."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class Deadline:
    """A deadline for several waits."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._end = time.monotonic() + timeout

    def left(self, what: str) -> float:
        """Seconds left; fails the test if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"waited in vain for {what}")
        return left


@dataclass
class Run:
    """The outcome of a cell: the content of its reply, and the messages published for it from busy to idle."""

    msg_id: str
    reply: dict[str, Any]
    messages: list[Message] = field(repr=False)

    @property
    def status(self) -> str:
        return self.reply["status"]

    @property
    def types(self) -> list[str]:
        """The types of the messages, the states of the status messages in their place. Text that is printed may
        come in any number of pieces: they count as one. Busy comes once more behind every other request that is
        answered meanwhile: the first one counts."""
        types = [m["content"].get("execution_state") or m["msg_type"] for m in self.messages]
        types = [t for at, t in enumerate(types) if t != "busy" or "busy" not in types[:at]]
        return [t for before, t in zip([None, *types], types, strict=False) if (before, t) != ("stream", "stream")]

    def contents(self, *msg_types: str) -> list[dict[str, Any]]:
        """The contents of the messages of these types."""
        return [m["content"] for m in self.messages if m["msg_type"] in msg_types]

    def text(self, name: str) -> str:
        """The text printed on this stream."""
        return "".join(c["text"] for c in self.contents("stream") if c["name"] == name)

    @property
    def stdout(self) -> str:
        return self.text("stdout")

    @property
    def stderr(self) -> str:
        return self.text("stderr")

    @property
    def result(self) -> str | None:
        """The value of the cell's last expression, as text."""
        results = self.contents("execute_result")
        assert len(results) <= 1
        return results[0]["data"]["text/plain"] if results else None

    @property
    def error(self) -> dict[str, Any]:
        """The only error message of the cell."""
        errors = self.contents("error")
        assert len(errors) == 1, f"{self.reply} and {[(m['msg_type'], m['content']) for m in self.messages]}"
        return errors[0]

    @property
    def traceback(self) -> str:
        """The traceback of the only error, without colours."""
        return without_colours("\n".join(self.error["traceback"]))


class Client:
    """A frontend that keeps every message it has received, so that a test can look at earlier ones."""

    def __init__(self, connection_file: str | Path, kernel: subprocess.Popen | None = None) -> None:
        self._kernel = kernel
        self.kc = BlockingKernelClient(context=zmq.Context.instance())
        self.kc.load_connection_file(str(connection_file))
        self.kc.start_channels(hb=False)
        self._replies: dict[str, list[Message]] = {"shell": [], "control": [], "stdin": []}
        #: Everything that was published since the client subscribed.
        self.log: list[Message] = []

    def subscribe(self) -> None:
        """Waits until the kernel knows that this client listens."""
        self.wait(lambda m: m["msg_type"] == "iopub_welcome")

    def close(self) -> None:
        # Not `stop_channels`: it would open the heartbeat to close it, and leak its socket.
        for channel in ("shell", "control", "stdin", "iopub"):
            self._channel(channel).stop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- requests and replies ---------------------------------------------------------------------------

    def send(
        self,
        msg_type: str,
        content: dict[str, Any] | None = None,
        *,
        channel: str = "shell",
        metadata: dict[str, Any] | None = None,
        header: dict[str, Any] | None = None,
        buffers: list[Any] | None = None,
    ) -> str:
        """Sends a request and returns its id. `header` is what its header holds beside the usual."""
        message = self.kc.session.msg(msg_type, content or {}, metadata=metadata)
        message["header"].update(header or {})
        self.kc.session.send(self._channel(channel).socket, message, buffers=buffers)
        return message["header"]["msg_id"]

    def reply(self, msg_id: str, channel: str = "shell", timeout: float = TIMEOUT) -> Message:
        """The reply to a request, waited for."""
        found = self._find(msg_id, channel)
        deadline = Deadline(timeout)
        while found is None:
            self._receive(channel, deadline, f"the reply to {msg_id} on {channel}")
            found = self._find(msg_id, channel)
        return found

    def replied(self, msg_id: str, channel: str = "shell") -> bool:
        """Whether the reply has arrived."""
        while self._channel(channel).msg_ready():
            self._replies[channel].append(self._channel(channel).get_msg())
        return self._find(msg_id, channel) is not None

    def ask(
        self, msg_type: str, content: dict[str, Any] | None = None, *, channel: str = "shell", **parts: Any
    ) -> dict[str, Any]:
        """The content of the reply to a request."""
        return self.reply(self.send(msg_type, content, channel=channel, **parts), channel)["content"]

    def replies(self, channel: str = "shell") -> list[Message]:
        """The replies received so far, in the order of their arrival."""
        return self._replies[channel]

    def _find(self, msg_id: str, channel: str) -> Message | None:
        return next((m for m in self._replies[channel] if parent_id(m) == msg_id), None)

    # -- cells ------------------------------------------------------------------------------------------

    def execute(
        self,
        code: str,
        *,
        channel: str = "shell",
        metadata: dict[str, Any] | None = None,
        header: dict[str, Any] | None = None,
        **options: Any,
    ) -> str:
        """Sends a cell and returns the request's id."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": True,
        }
        parts: dict[str, Any] = {"channel": channel, "metadata": metadata, "header": header}
        return self.send("execute_request", {**content, **options}, **parts)

    def finish(self, msg_id: str, timeout: float = TIMEOUT, *, channel: str = "shell") -> Run:
        """Waits until a cell has been answered and is idle."""
        reply = self.reply(msg_id, channel, timeout)
        self.wait_idle(msg_id, timeout=timeout)
        messages = self.published(msg_id)
        end = next(i for i, m in enumerate(messages) if m["content"].get("execution_state") == "idle")
        return Run(msg_id, reply["content"], messages[: end + 1])

    def run(self, code: str, timeout: float = TIMEOUT, *, channel: str = "shell", **options: Any) -> Run:
        """Runs a cell to its end."""
        return self.finish(self.execute(code, channel=channel, **options), timeout, channel=channel)

    def start(self, code: str, **options: Any) -> str:
        """Sends a cell that prints a line ``started``, and waits for that. Returns the request's id."""
        msg_id = self.execute(code, **options)
        self.wait_text("started\n", msg_id)
        return msg_id

    # -- what is published ------------------------------------------------------------------------------

    def wait(self, condition: Condition, timeout: float = TIMEOUT, what: str = "a message on iopub") -> Message:
        """The first published message for which this holds, of those received and those to come."""
        deadline = Deadline(timeout)
        position = 0
        while True:
            for message in self.log[position:]:
                if condition(message):
                    return message
            position = len(self.log)
            self._receive("iopub", deadline, what)

    def read_iopub(self) -> None:
        """Receives the published messages that have arrived, without waiting."""
        while self.kc.iopub_channel.msg_ready():
            self.log.append(self.kc.iopub_channel.get_msg())

    def wait_text(self, text: str, msg_id: str, name: str = "stdout", timeout: float = TIMEOUT) -> str:
        """Waits until a cell has printed this. Returns all that it has printed, without colours."""
        printed = ""

        def is_there(message: Message) -> bool:
            nonlocal printed
            if message["msg_type"] == "stream" and parent_id(message) == msg_id and message["content"]["name"] == name:
                printed += message["content"]["text"]
            return text in without_colours(printed)

        self.wait(is_there, timeout, f"{text!r} on {name}")
        return without_colours(printed)

    def wait_idle(self, msg_id: str, timeout: float = TIMEOUT) -> Message:
        """Waits for the idle status of a request."""
        return self.wait(
            lambda m: parent_id(m) == msg_id and m["content"].get("execution_state") == "idle",
            timeout,
            f"idle of {msg_id}",
        )

    def published(self, msg_id: str) -> list[Message]:
        """The messages received so far for one request."""
        return [m for m in self.log if parent_id(m) == msg_id]

    # -- input ------------------------------------------------------------------------------------------

    def prompts(self) -> Iterator[Message]:
        """Yields the `input_request` messages of the kernel, as they come."""
        position = 0
        while True:
            while len(self._replies["stdin"]) <= position:
                self._receive("stdin", Deadline(), "an input_request")
            yield self._replies["stdin"][position]
            position += 1

    def answer(self, value: str, prompt: Message | None = None) -> None:
        """Answers an `input_request`; without `prompt`, without a parent header, as older clients do."""
        parent = prompt["header"] if prompt else None
        message = self.kc.session.msg("input_reply", {"value": value, "status": "ok"}, parent=parent)
        self.kc.stdin_channel.send(message)

    # -- receiving --------------------------------------------------------------------------------------

    def _channel(self, name: str) -> Any:
        return getattr(self.kc, f"{name}_channel")

    def _receive(self, name: str, deadline: Deadline, what: str) -> None:
        """Waits for a message on a channel, and stores it and all others that have arrived."""
        channel = self._channel(name)
        store = self.log if name == "iopub" else self._replies[name]
        while not channel.socket.poll(min(deadline.left(what), 1.0) * 1000):
            code = self._kernel.poll() if self._kernel else None
            if code is not None and not channel.msg_ready():
                raise EOFError(f"the kernel has ended with code {code}, instead of sending {what}")
        while channel.msg_ready():
            store.append(channel.get_msg())


class Kernel:
    """A kernel, started by Jupyter's `KernelManager` from a kernelspec made for it. `settings` are the manager's;
    `python` is the interpreter."""

    def __init__(
        self,
        way: str,
        folder: Path,
        *options: str,
        wrapper: tuple[str, ...] = (),
        settings: dict[str, Any] | None = None,
        python: str = sys.executable,
        **env: str,
    ) -> None:
        self.way = way
        self.folder = folder
        self.terminal_file = folder / "terminal.txt"
        self.manager = KernelManager(
            kernel_name="callboard",
            kernel_spec_manager=write_kernelspec(folder, way, *options, wrapper=wrapper, python=python),
            **{"connection_file": str(folder / "connection.json"), **(settings or {})},
        )
        # Open as long as the manager may start the kernel anew.
        self._terminal = self.terminal_file.open("a")
        self.manager.start_kernel(
            env=environment(folder, **env), cwd=str(folder), stdout=self._terminal, stderr=subprocess.STDOUT
        )

    @property
    def process(self) -> subprocess.Popen:
        return self.manager.provisioner.process

    @property
    def connection_file(self) -> str:
        return self.manager.connection_file

    @property
    def terminal(self) -> str:
        """The terminal output of the kernel so far."""
        return self.terminal_file.read_text(errors="replace")

    def connect(self) -> Client:
        """Another frontend of this kernel."""
        client = Client(self.connection_file, self.process)
        client.subscribe()
        return client

    def wait_end(self, timeout: float = TIMEOUT) -> int:
        """Waits until the process has ended; returns the exit code."""
        return self.process.wait(timeout)

    @property
    def alive(self) -> bool:
        return self.manager.has_kernel and self.process.poll() is None

    def close(self) -> None:
        """Ends the kernel, also when it hangs."""
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)
        self._terminal.close()


def interrupt(client: Client, kernel: Kernel, how: str) -> None:
    """Interrupts as frontends do: with a signal to the process group, or with a message."""
    if how == "signal":
        os.killpg(kernel.process.pid, signal.SIGINT)
    else:
        assert client.ask("interrupt_request", channel="control") == {"status": "ok"}
