"""The processes of a session and their descendants, from ``/proc`` or ``ps``."""

from __future__ import annotations

import os
import subprocess
from typing import NamedTuple

#: Prints the id, parent, group and state of every process, without headings. One ``-o`` for each column: POSIX takes
#: all that follows a ``=`` for the heading of that column, commas and more names included.
_PS = ("ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "pgid=", "-o", "stat=")


class ProcessTree:
    """The processes of a session, and all that these have started."""

    def __init__(self, session: int) -> None:
        """With 0 for `session` there are none."""
        self._session = session
        self._known: dict[int, str] = {}

    def groups(self) -> set[int]:
        """Returns the process groups of those that exist now."""
        if not self._session:
            return set()
        found = _processes()
        members = {
            pid
            for pid, process in found.items()
            if self._session in (process.session, process.group, pid) or self._known.get(pid) == process.start
        }
        while more := {pid for pid, process in found.items() if process.parent in members} - members:
            members |= more
        self._known = {pid: found[pid].start for pid in members}
        return {found[pid].group for pid in members}

    def alive(self) -> bool:
        """Whether one of those that `groups` has found still exists."""
        return any(_is_alive(pid, start) for pid, start in self._known.items())


class _Process(NamedTuple):
    parent: int
    group: int
    session: int
    #: The start time tells a process from a later one with the same number. Empty where only ``ps`` is asked.
    start: str


def _processes() -> dict[int, _Process]:
    """All processes that have not ended, by process id."""
    if os.path.exists("/proc/self/stat"):
        found = ((int(name), _read_process(name)) for name in os.listdir("/proc") if name.isdecimal())
        return {pid: process for pid, process in found if process is not None}
    lines = subprocess.run(_PS, stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()
    rows = (line.split() for line in lines)
    return {int(row[0]): _Process(int(row[1]), int(row[2]), 0, "") for row in rows if not row[3].startswith("Z")}


def _read_process(pid: int | str) -> _Process | None:
    """Reads ``/proc/PID/stat``. None if the process has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may contain any character.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return _Process(int(fields[1]), int(fields[2]), int(fields[3]), fields[19].decode())


def _is_alive(pid: int, start: str) -> bool:
    if start:
        process = _read_process(pid)
        return process is not None and process.start == start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
