"""The kernel ends with the process that `JPY_PARENT_PID` names, wherever it runs, and with no other."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from jupyter_client.connect import write_connection_file
from kernels_by_hand import PARENT
from support import Client, command, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="the system calls of Linux")

#: Seconds: far more than it takes.
AT_LAST = 40

#: Adopts the orphans among the processes below it; tells the process id of its child.
SUBREAPER = (
    "import ctypes, subprocess, sys\n"
    "assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0\n"  # PR_SET_CHILD_SUBREAPER
    "child = subprocess.Popen(sys.argv[1:])\nprint(child.pid, flush=True)\nchild.wait()\nsys.stdin.read()\n"
)


class Started:
    """Processes that a test has started, and the connection file of the kernel among them."""

    def __init__(self, way: str, folder: Path) -> None:
        self._folder = folder
        self.connection_file = str(folder / "connection.json")
        write_connection_file(self.connection_file, ip="127.0.0.1")
        self.kernel = [*command(way), "-f", self.connection_file]
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *argv: str, **env: str) -> subprocess.Popen[str]:
        """Starts a program; its output can be read from it, and its terminal is `terminal`."""
        with (self._folder / "terminal.txt").open("a") as terminal:
            process = subprocess.Popen(
                argv,
                env=environment(self._folder, **env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=terminal,
                text=True,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    @property
    def terminal(self) -> str:
        return (self._folder / "terminal.txt").read_text()

    def answers(self, process: subprocess.Popen[str]) -> int:
        """The kernel runs a cell; its process id as it knows it."""
        with Client(self.connection_file, process) as client:
            client.subscribe()
            return int(client.run("import os; os.getpid()").result or 0)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def started(way: str, tmp_path: Path) -> Iterator[Started]:
    started = Started(way, tmp_path)
    yield started
    started.close()
    print(f"--- terminal ---\n{started.terminal}")


@contextlib.contextmanager
def watched(pid: int) -> Iterator[int]:
    """A pidfd of the process, which is killed at the end of the block."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)


def line_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_an_orphan_below_a_subreaper_ends(started: Started) -> None:
    python = [sys.executable, "-c"]
    reaper = started.start(*python, SUBREAPER, *python, PARENT, *started.kernel)
    parent = line_of(reaper)
    kernel = line_of(reaper)
    with watched(kernel) as end:
        assert started.answers(reaper) == kernel
        os.kill(parent, signal.SIGKILL)
        assert select.select([end], [], [], AT_LAST)[0], "the kernel has survived its parent"
        assert reaper.poll() is None
    assert "has ended: shutting down" in started.terminal


def test_a_kernel_whose_parent_has_ended_already_ends(started: Started) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    kernel = started.start(*started.kernel, JPY_PARENT_PID=str(gone.pid))
    assert kernel.wait(AT_LAST) == 0
    assert "has ended: shutting down" in started.terminal


def test_a_process_that_is_not_the_parent_is_watched(started: Started) -> None:
    provisioner = started.start("cat")
    kernel = started.start(*started.kernel, JPY_PARENT_PID=str(provisioner.pid))
    assert started.answers(kernel) == kernel.pid
    provisioner.kill()
    assert kernel.wait(AT_LAST) == 0


@pytest.mark.parametrize("value", ["", "0", "1", "-7", "no number", "99999999999999999999"])
def test_an_id_of_no_process_is_not_watched(started: Started, value: str) -> None:
    kernel = started.start(*started.kernel, JPY_PARENT_PID=value)
    assert started.answers(kernel) == kernel.pid
    said = "is no process id" in started.terminal
    assert said == (value not in ("", "0", "1"))


def test_without_the_variable_no_process_is_watched(started: Started) -> None:
    """A kernel from a terminal (`cargo run`), or one that is to outlive what has started it."""
    script = PARENT.replace("'JPY_PARENT_PID': str(os.getpid())", "").replace("\nkernel.wait()", "")
    parent = started.start(sys.executable, "-c", script, *started.kernel)
    kernel = line_of(parent)
    with watched(kernel) as end:
        parent.wait()
        with Client(started.connection_file) as client:
            client.subscribe()
            assert client.run("1 + 1").result == "2"
        assert not select.select([end], [], [], 0)[0]


# The first process of a container starts a kernel and lives as long as it does.
FIRST = "import os\nassert os.getpid() == 1\n" + PARENT
#: The same, in its own session and with the environment from outside of the container.
FIRST_WITH_OTHER_NUMBER = FIRST.replace("str(os.getpid())}", "'4000000'}").replace(", start_new_session=True", "")


@pytest.mark.parametrize("script", [FIRST, FIRST_WITH_OTHER_NUMBER], ids=["its own", "from outside"])
def test_in_a_container_a_kernel_of_the_first_process_goes_on(started: Started, script: str) -> None:
    isolated = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this takes the right to make PID namespaces")
    container = started.start(*isolated, sys.executable, "-c", script, *started.kernel)
    kernel = line_of(container)
    assert started.answers(container) == kernel
    assert "shutting down" not in started.terminal
