"""Traces of a crash, and the warning before memory runs out."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import Client, Kernel

MIB = 1 << 20

#: Memory of the container that the tests make. The kernel itself takes a sixth of it.
LIMIT = 400 * MIB


@pytest.mark.parametrize(
    ("code", "signum"),
    [
        ("def crash():\n    ctypes.string_at(0)\ncrash()", signal.SIGSEGV),
        ("def crash():\n    ctypes.PyDLL(None).abort()\ncrash()", signal.SIGABRT),
        ("# thread\ndef crash():\n    ctypes.string_at(0)\ncrash()", signal.SIGSEGV),
    ],
    ids=["segfault", "abort", "thread"],
)
def test_a_crash_leaves_a_trace_of_python_and_one_of_rust(
    fresh_kernel: Kernel, fresh_client: Client, code: str, signum: int
) -> None:
    fresh_client.run("import ctypes")
    fresh_client.execute(code)
    assert fresh_kernel.wait_end() == -signum
    terminal = fresh_kernel.terminal
    assert re.search(r"Fatal Python error: (Segmentation fault|Aborted)", terminal)
    # Python's own: behind at most one function of ctypes, those of the user.
    innermost = re.search(
        r"\(most recent call first\):\n((?:  File .*\n)*?)  File .* in crash\n  File .* in <module>", terminal
    )
    assert innermost is not None
    assert innermost[1].count("\n") <= 1
    # That of C and Rust.
    trace = terminal.partition(f"callboard: the kernel has crashed by {signal.Signals(signum).name}")[2]
    assert re.search(r"\n +\d+: .*(ctypes|ffi)", trace)
    assert "callboard::os::crash" in trace
    assert "callboard: end of the trace" in trace


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python looks at the depth of C calls itself, and raises")
def test_endless_recursion_in_c_code_leaves_a_trace(fresh_kernel: Kernel, fresh_client: Client) -> None:
    code = (
        "import ctypes, sys\nsys.setrecursionlimit(10**9)\n@ctypes.PYFUNCTYPE(None)\ndef again():\n    again()\nagain()"
    )
    fresh_client.execute(code)
    assert fresh_kernel.wait_end() in (-signal.SIGSEGV, -signal.SIGBUS)
    assert "in again" in fresh_kernel.terminal


class Container:
    """A cgroup whose memory is limited, of whichever version this machine has."""

    def __init__(self) -> None:
        name = f"callboard-test-{os.getpid()}"
        self._v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        root = Path("/sys/fs/cgroup") if self._v2 else Path("/sys/fs/cgroup/memory")
        self.folder = root / name
        self.folder.mkdir()
        try:
            if self._v2:
                # Events come when the limit is reached, or that from which on memory is taken back.
                self._write("memory.max", LIMIT)
                self._write("memory.high", LIMIT * 92 // 100)
            else:
                self._write("memory.limit_in_bytes", LIMIT)
        except OSError:
            self.remove()
            raise

    def _write(self, name: str, value: int) -> None:
        (self.folder / name).write_text(str(value))

    @property
    def wrapper(self) -> tuple[str, ...]:
        """Starts a command in it."""
        return ("/bin/sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh")

    @property
    def usage(self) -> Path:
        """The file that says how many bytes are in use."""
        return self.folder / ("memory.current" if self._v2 else "memory.usage_in_bytes")

    def remove(self) -> None:
        """Removes the cgroup. No process may be in it any more."""
        with contextlib.suppress(FileNotFoundError):
            self.folder.rmdir()


@pytest.fixture
def container() -> Iterator[Container]:
    try:
        container = Container()
    except OSError as error:
        pytest.skip(f"no cgroup with a limit can be made here: {error}")
    yield container
    container.remove()


def test_a_cell_is_told_when_the_memory_of_its_container_runs_out(
    container: Container, start_kernel: Callable[..., Kernel]
) -> None:
    kernel = start_kernel(wrapper=container.wrapper)
    fill = (
        "hoard = []\n"
        f"while int(open('{container.usage}').read()) < {LIMIT * 95 // 100}:\n"
        f"    hoard.append(b'x' * {2 * MIB})\n"
        "print(input('full'))"
    )
    with kernel.connect() as client:
        quiet = client.run("'nothing to tell'")
        assert quiet.stderr == ""
        msg_id = client.execute(fill)
        question = next(client.prompts())
        told = client.wait_text("memory is running out", msg_id, "stderr")
        assert re.search(r"0\.3\d GiB of the 0\.39 GiB of this container are in use \(9\d %\)", told)
        client.answer("go on", question)
        run = client.finish(msg_id)
        assert run.stdout == "go on\n"
        assert run.stderr.count("memory is running out") == 1
        assert "memory is running out" in kernel.terminal
        # Each cell is told once, for as long as it is true.
        client.run("hoard.clear()\nimport gc\n_ = gc.collect()")
        assert client.run("'enough again'").stderr == ""
    kernel.close()
