"""Startup files that fail or leave: the traceback is on the terminal, the next ones run, and the kernel starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Kernel

FILES = {
    "00-fails.py": "def f():\n    1/0\nf()\n",
    "01-leaves.py": "import sys\na = 1\nsys.exit(3)\na = 2\n",
    "02-leaves.py": "b = 1\nexit()\nb = 2\n",
    "03-is-no-python.py": "c = (\n",
    "04-is-ipython.ipy": "d = 1\nd / 0\n",
    "05-group.py": "e = 1\nraise ExceptionGroup('several', [ValueError('one')])\n",
    "06-interrupt.py": "raise KeyboardInterrupt\n",
    "07-leaves.ipy": "quit()\n",
    "08-bad-bytes.py": b"x = '\xff'\n",
    "09-good.py": "last = 1\n",
}


@pytest.fixture
def kernel_with_files(start_kernel: Callable[..., Kernel], tmp_path: Path) -> Kernel:
    startup = tmp_path / "ipython/profile_default/startup"
    startup.mkdir(parents=True)
    for name, text in FILES.items():
        (startup / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "more.py").write_text("more = 1\nraise RuntimeError('of another file')\n")
    lines = '--IPKernelApp.exec_lines=["1/0", "x = (", "line = 1", "exit()", "after = 1"]'
    more = f"--IPKernelApp.exec_files={[str(tmp_path / 'more.py'), str(tmp_path / 'absent.py')]}"
    return start_kernel(lines, more, IPYTHONDIR=str(tmp_path / "ipython"))


def test_each_failure_is_on_the_terminal_and_the_rest_runs(kernel_with_files: Kernel) -> None:
    with kernel_with_files.connect() as client:
        assert client.run("a, b, d, e, last, line, after, more").result == "(1, 1, 1, 1, 1, 1, 1, 1)"
        assert client.run("1/0").error["ename"] == "ZeroDivisionError"
    told = kernel_with_files.terminal
    assert "00-fails.py has failed" in told
    assert "line 3, in <module>\n    f()\n" in told
    assert told.count("ZeroDivisionError: division by zero") == 3
    assert "01-leaves.py has called sys.exit(3)" in told
    assert "'(' was never closed" in told
    assert "several (1 sub-exception)" in told
    assert "06-interrupt.py has failed" in told
    assert "RuntimeError: of another file" in told
    assert "absent.py" in told
    # Neither IPython's frames nor colours.
    assert "safe_execfile" not in told
    assert "\x1b" not in told
    assert told.count("02-leaves.py") == 0


def test_an_extension_that_leaves_does_not_end_the_kernel(start_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(4)\n")
    kernel = start_kernel("--ext=leaving", PYTHONPATH=str(tmp_path))
    with kernel.connect() as client:
        assert client.run("'alive'").result == "'alive'"
    assert "sys.exit(4)" in kernel.terminal


def test_code_of_the_command_line_that_fails_is_on_the_terminal(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel("-c", "x = 1\n1/0")
    with kernel.connect() as client:
        assert client.run("x").result == "1"
    assert "ZeroDivisionError: division by zero" in kernel.terminal
