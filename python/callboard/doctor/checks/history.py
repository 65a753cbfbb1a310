"""IPython's history file, which all kernels and terminals of a user share."""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..findings import ok, skipped, warning

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from ..findings import Finding
    from ..installation import Installation

#: Above this size only the beginning of the file is examined, bytes: to read all of it takes seconds.
_LARGE = 100_000_000


def check(installation: Installation) -> Iterator[Finding]:
    try:
        import sqlite3
    except ImportError as failure:
        yield warning(
            "no-sqlite",
            f"this Python has no sqlite3, so history is not kept: {failure}",
            "install a Python that was built with SQLite",
        )
        return
    file = installation.profile / "history.sqlite"
    quoted = shlex.quote(str(file))
    if not os.path.lexists(file):
        yield skipped(f"there is no {file} yet")
        return
    facts = {"file": str(file)}
    if not os.access(file, os.R_OK | os.W_OK):
        yield _unwritable(file, "permission denied")
        return
    try:
        sessions = _examine(file)
    except sqlite3.Error as failure:
        # The code may be an extended one.
        kind = getattr(failure, "sqlite_errorcode", 0) & 0xFF
        if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            text = f"{file} is locked by another process: kernels write what is typed when it is free"
            yield warning("history-locked", text, f"end the process that `fuser {quoted}` names", **facts)
        elif kind in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY):
            yield _unwritable(file, str(failure))
        else:
            text = f"{file} is damaged ({failure}): the next kernel moves it aside, and begins a new one"
            yield warning("history-damaged", text, f"mv {quoted} {quoted}.damaged", **facts)
        return
    yield ok(f"{file} is in order, with {sessions} sessions", sessions=sessions, **facts)


def _unwritable(file: Path, why: str) -> Finding:
    quoted = shlex.quote(str(file))
    text = f"{file} cannot be read and written, so history is not kept: {why}"
    return warning("history-unwritable", text, f"sudo chown $USER {quoted}; chmod u+rw {quoted}", file=str(file))


def _examine(file: Path) -> int:
    """Raises `sqlite3.Error` if the file is locked or damaged. Returns the number of sessions."""
    import sqlite3

    where = f"file:{quote(str(file))}?mode=rw"
    with contextlib.closing(sqlite3.connect(where, uri=True, timeout=0.5, isolation_level=None)) as db:
        if file.stat().st_size < _LARGE:
            told = _one(db, "PRAGMA quick_check(1)")
            if told != "ok":
                raise sqlite3.DatabaseError(str(told))
        # Asks for the right to write, and gives it back without having written.
        db.execute("BEGIN IMMEDIATE")
        try:
            return int(str(_one(db, "SELECT count(*) FROM sqlite_master WHERE name = 'sessions'"))) and int(
                str(_one(db, "SELECT count(*) FROM sessions"))
            )
        finally:
            db.execute("ROLLBACK")


def _one(db: sqlite3.Connection, statement: str) -> object:
    return db.execute(statement).fetchone()[0]
