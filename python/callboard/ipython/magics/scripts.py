"""``%%script``, ``%%bash`` and the like, awaited on a thread. Imported on first use."""

from __future__ import annotations

import inspect
import sys
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.utils.process import arg_split  # type: ignore[attr-defined]

from ...processes import thread_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from .base import MagicShell


async def run_script(shell: MagicShell, function: Any, line: str, cell: str) -> None:
    """Runs the magic `function`: ``%%script``, or one like ``%%bash``."""
    __tracebackhide__ = True
    nonlocals = inspect.getclosurevars(function).nonlocals if function.__name__ == "named_script_magic" else {}
    magics = nonlocals.get("self") or getattr(function, "__self__", None)
    if magics is None:
        # Another version of IPython: the script does not block the event loop, but cannot be stopped.
        await thread_job.in_thread(function, line, cell)
        return
    argv = arg_split(f"{nonlocals.get('script', '')} {line}", posix=True)
    args, program = magics.shebang.parser.parse_known_args(argv)
    if args.bg:
        # It returns at once.
        function(line, cell)
    elif not program:
        msg = "which program? Usage: %%script PROGRAM"
        raise UsageError(msg)
    else:
        await thread_job.in_thread(_run, shell, program, cell, args.out, args.err, args.raise_error)


def _run(shell: MagicShell, program: list[str], cell: str, out: str | None, err: str | None, raise_error: bool) -> None:
    __tracebackhide__ = True
    stdin = (cell if cell.endswith("\n") else cell + "\n").encode("utf8", "replace")
    writes = [_writer(shell, sys.stdout, out), _writer(shell, sys.stderr, err)]
    try:
        code = shell.run_command(program, *writes, stdin=stdin)
    except FileNotFoundError:
        print(f"Couldn't find program: {program[0]!r}")
        return
    shell.user_ns["_exit_code"] = code
    if raise_error and code != 0:
        raise CalledProcessError(code, stdin)


def _writer(shell: MagicShell, stream: TextIO, variable: str | None) -> Callable[[str], Any]:
    """A function that writes output to a stream, or appends it to a variable of the user's."""
    if not variable:
        return stream.write
    shell.user_ns[variable] = ""

    def append(text: str) -> None:
        shell.user_ns[variable] += text

    return append
