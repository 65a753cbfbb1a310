"""History that is opened when there is something to write: locked, opened late, or never opened."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Kernel


def test_a_history_that_another_process_has_locked_does_not_block_cells(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel()
    with kernel.connect() as client:
        client.run("'the file is there'")
        client.run("%history -g")
    file = kernel.folder / "ipython/profile_default/history.sqlite"
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    kernel.manager.restart_kernel(now=True)
    with kernel.connect() as client:
        assert client.run("'while it was locked'").result
        other.execute("ROLLBACK")
        client.ask("shutdown_request", {"restart": False}, channel="control")
        kernel.wait_end()
    sources = [source for (source,) in other.execute("SELECT source FROM history")]
    other.close()
    assert "'while it was locked'" in sources


def test_the_last_cells_are_written_to_a_history_that_was_opened_late(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel()
    with kernel.connect() as client:
        client.run("'first'")
        assert client.run("get_ipython().history_manager.db and get_ipython().history_manager.is_open").result == "True"
        client.run("'last'")
        client.ask("shutdown_request", {"restart": False}, channel="control")
        kernel.wait_end()
    with sqlite3.connect(kernel.folder / "ipython/profile_default/history.sqlite") as database:
        assert database.execute("SELECT source FROM history").fetchall()[-1] == ("'last'",)
        (session,) = database.execute("SELECT end IS NOT NULL, num_cmds FROM sessions").fetchall()
    assert session == (1, 3)
    assert kernel.terminal == ""


#: Makes every statement of sqlite3 slow, with the GIL released. It refers to no variable: these go first at the end.
SLOW = """
def slow_down():
    import functools, sqlite3, time

    class Slow(sqlite3.Connection):
        def execute(self, *args):
            time.sleep(0.2)
            return super().execute(*args)

    sqlite3.connect = functools.partial(sqlite3.connect, factory=Slow)

slow_down()
"""


def test_a_history_that_is_being_opened_when_the_kernel_ends_is_written(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel()
    with kernel.connect() as client:
        client.run(SLOW)
        client.run("import time\nwhile not get_ipython().history_manager.is_open: time.sleep(0.01)")
        client.ask("shutdown_request", {"restart": False}, channel="control")
        assert kernel.wait_end() == 0
    assert kernel.terminal == ""
    with sqlite3.connect(kernel.folder / "ipython/profile_default/history.sqlite") as database:
        assert database.execute("SELECT count(*) FROM history").fetchone() == (2,)


def test_a_kernel_in_which_nothing_was_run_leaves_no_session(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel()
    with kernel.connect() as client:
        client.ask("kernel_info_request")
        client.ask("shutdown_request", {"restart": False}, channel="control")
        kernel.wait_end()
    assert not (kernel.folder / "ipython/profile_default/history.sqlite").exists()
