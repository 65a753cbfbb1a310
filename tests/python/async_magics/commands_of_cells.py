"""Forms of a command in a cell, commands that start several processes, and checks of their output and end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path

    from support import Run


def pid_is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for_end(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=10)
    assert pid_is_gone(pid)


#: Ways to run a command; what they print or return contains what the command prints.
COMMANDS = {
    "!": "!{}",
    "!!": "!!{}",
    "= !": "x = !{}\nprint(x)",
    "%sx": "%sx {}",
    "%%sx": "%%sx\n{}",
    "%system": "%system {}",
    "%%!": "%%!\n{}",
    "%sc": "%sc -v out={}",
    "%%bash": "%%bash\n{}",
    "%%sh": "%%sh\n{}",
    "%%script": "%%script bash -e\n{}",
    "%%time": "%%time\n!{}",
    "%time": "%time !{}",
    "async def": "async def f():\n    !{}\nawait f()",
    "if": "if True:\n    !{}",
    "alias": "%alias run_it %l\n%run_it {}",
}


def waiting_for(file: Path) -> str:
    """A command that ends when a file is there."""
    return f"while [ ! -e {file} ]; do sleep 0.01; done; echo done"


def output(run: Run) -> str:
    return run.stdout + (run.result or "")


#: Prints the numbers of processes that would run for long, and does not end.
FAMILIES = {
    "child": "echo pids $$; sleep 1000",
    "pipe": "sleep 1000 | sleep 1000 & echo pids $$ $!; wait",
    "grandchildren": "bash -c 'sleep 1000 & echo pids $$ $!; wait' | cat",
    "another session": "setsid bash -c 'echo pids $$; sleep 1000' | cat",
    "deaf": 'trap "" INT TERM; bash -c "trap \'\' INT TERM; echo pids \\$\\$; sleep 1000; sleep 1000" ; sleep 1000',
    "outlives": "bash -c 'trap \"\" INT HUP; echo pids $$; sleep 1000; sleep 1000' & wait",
    "stopped": "sleep 1000 & kill -STOP $!; echo pids $$ $!; wait",
    "closed": "echo pids $$; exec >&- 2>&- <&-; sleep 1000",
}
