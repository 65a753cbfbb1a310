"""Starts kernels from a command line, with connection files that the tests write."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.connect import write_connection_file
from support import TIMEOUT, Client, Kernel, command, environment


def describe(kernel: Kernel) -> dict[str, Any]:
    """The content of the connection file."""
    return json.loads(Path(kernel.connection_file).read_text())


def address(info: dict[str, Any], channel: str) -> str:
    between = "-" if info["transport"] == "ipc" else ":"
    return f"{info['transport']}://{info['ip']}{between}{info[f'{channel}_port']}"


KEYS = tuple(key.decode() for key in zmq.curve_keypair())


def write_connection(folder: Path, **changes: Any) -> str:
    """Writes a connection file that is right but for these changes."""
    file = folder / "connection.json"
    transport = "ipc" if changes.get("transport") == "ipc" else "tcp"
    # Numbers that are free: jupyter_client binds them.
    ip = changes["ip"] if transport == "ipc" else "127.0.0.1"
    _, content = write_connection_file(str(file), ip=ip, transport=transport, key=b"secret")
    file.write_text(json.dumps({**content, **changes}))
    return str(file)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def start_in_vain(way: str, folder: Path, *options: str, env: dict[str, str] | None = None) -> str:
    """Starts a kernel that cannot start; returns the line that says why."""
    done = subprocess.run(
        [*command(way), *options],
        env=environment(folder, **(env or {})),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode not in (0, None)
    assert done.returncode > 0, f"ended by signal {-done.returncode}"
    assert "Traceback" not in done.stderr
    assert "panicked" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def one_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    return line


#: Starts a program as Jupyter does, tells its process id, and waits for it.
PARENT = (
    "import os, subprocess, sys\n"
    "env = {**os.environ, 'JPY_PARENT_PID': str(os.getpid())}\n"
    "kernel = subprocess.Popen(sys.argv[1:], env=env, start_new_session=True)\n"
    "print(kernel.pid, flush=True)\nkernel.wait()\n"
)


class Started:
    """A kernel that was started from a command line."""

    def __init__(self, way: str, folder: Path, *options: str, **env: str) -> None:
        self.file = folder / "terminal.txt"
        with self.file.open("w") as terminal:
            self.process = subprocess.Popen(
                [*command(way), *options],
                env=environment(folder, **env),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=terminal,
                text=True,
            )

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def terminal(self) -> str:
        return self.file.read_text()

    def announced(self) -> Path:
        """The connection file that it says it has written."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Connection file: "), self.terminal
        return Path(line.removeprefix("Connection file: ").strip())

    def connect(self, connection_file: str | Path) -> Client:
        client = Client(connection_file, self.process)
        client.subscribe()
        return client

    def shut_down(self, client: Client) -> None:
        client.ask("shutdown_request", {"restart": False}, channel="control")
        assert self.process.wait(TIMEOUT) == 0, self.terminal
