"""A history file that another process has locked is in order: it is not moved aside, and nothing waits for it."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import Client, Kernel

TAIL = {"hist_access_type": "tail", "n": 20, "output": False, "raw": True}

#: The longest that a request may take while the file is locked, seconds: IPython waits 5 for each statement.
SOON = 4.5


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A history file with one input of an earlier session."""
    file = tmp_path / "history.sqlite"
    with sqlite3.connect(file) as database:
        database.execute(
            "CREATE TABLE sessions (session integer primary key autoincrement, start timestamp, end timestamp,"
            " num_cmds integer, remark text)"
        )
        for table, more in (("history", "source text, source_raw text"), ("output_history", "output text")):
            database.execute(
                f"CREATE TABLE {table} (session integer, line integer, {more}, PRIMARY KEY (session, line))"
            )
        database.execute("INSERT INTO sessions VALUES (1, '2024-01-01 00:00:00', NULL, NULL, '')")
        database.execute("INSERT INTO history VALUES (1, 1, 'earlier', 'earlier')")
    database.close()
    return file


@pytest.fixture
def other(history: Path) -> Iterator[sqlite3.Connection]:
    """Another process."""
    connection = sqlite3.connect(history, isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
def client(start_kernel: Callable[..., Kernel], history: Path) -> Iterator[Client]:
    with start_kernel(f"--HistoryManager.hist_file={history}").connect() as client:
        yield client


def ask(client: Client, request: dict[str, Any]) -> list[list[Any]]:
    start = time.monotonic()
    reply = client.ask("history_request", request)
    assert reply["status"] == "ok"
    assert time.monotonic() - start < SOON
    return reply["history"]


def sources(entries: list[list[Any]]) -> list[str]:
    return [source for _session, _line, source in entries]


def wait_for(client: Client, source: str, first: str = "earlier") -> list[list[Any]]:
    """Asks until the file is read, and has this input."""
    end = time.monotonic() + 60
    while True:
        found = client.ask("history_request", TAIL)["history"]
        if source in sources(found) and sources(found)[0] == first:
            return found
        assert time.monotonic() < end, found


@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE"])
def test_asked_for_while_it_is_opened(client: Client, other: sqlite3.Connection, history: Path, lock: str) -> None:
    other.execute(f"BEGIN {lock}")
    client.run("'while it was locked'")
    assert "'while it was locked'" in sources(ask(client, TAIL))
    assert "'while it was locked'" in sources(
        ask(client, {**TAIL, "hist_access_type": "range", "session": 0, "start": 0})
    )
    ask(client, {**TAIL, "hist_access_type": "search", "pattern": "*"})
    assert client.run("%history -n").stdout.count("while it was locked") == 1
    assert client.run("%history -g").status == "ok"
    assert client.run("get_ipython().history_manager.get_session_info(1)").reply["ename"] == "HistoryLockedError"
    other.execute("ROLLBACK")
    wait_for(client, "'while it was locked'")
    assert [file.name for file in history.parent.glob("history*")] == ["history.sqlite"]


def test_locked_after_it_was_opened(client: Client, other: sqlite3.Connection, history: Path) -> None:
    client.run("'before'")
    assert sources(ask(client, TAIL)) == ["earlier", "'before'"]
    other.execute("BEGIN EXCLUSIVE")
    start = time.monotonic()
    for number in range(5):
        client.run(f"'locked {number}'")
    assert time.monotonic() - start < SOON
    assert "'locked 4'" in sources(ask(client, TAIL))
    other.execute("ROLLBACK")
    wait_for(client, "'locked 4'")
    client.run("'after'")
    found = wait_for(client, "'after'")
    assert sources(found) == ["earlier", "'before'", *(f"'locked {number}'" for number in range(5)), "'after'"]
    assert [file.name for file in history.parent.glob("history*")] == ["history.sqlite"]


def test_completion_does_not_wait_for_it(client: Client, other: sqlite3.Connection) -> None:
    other.execute("BEGIN EXCLUSIVE")
    client.run("'a cell'")
    start = time.monotonic()
    for _ in range(3):
        assert client.ask("complete_request", {"code": "pri", "cursor_pos": 3})["matches"]
    ask(client, TAIL)
    assert client.ask("complete_request", {"code": "pri", "cursor_pos": 3})["matches"]
    assert time.monotonic() - start < 2 * SOON


def test_numbers_that_are_used_twice_begin_a_session(client: Client, history: Path) -> None:
    """As in IPython."""
    client.run("'first'")
    ask(client, TAIL)
    client.run("get_ipython().execution_count = 1")
    client.run("'again'")
    found = wait_for(client, "'again'")
    assert {"'first'", "'again'"} <= set(sources(found))


def test_a_damaged_file_is_moved_aside(start_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite"
    file.write_bytes(b"no database" * 2000)
    with start_kernel(f"--HistoryManager.hist_file={file}").connect() as client:
        client.run("'kept'")
        wait_for(client, "'kept'", first="'kept'")
    assert len(list(tmp_path.glob("history-corrupt*"))) == 1
