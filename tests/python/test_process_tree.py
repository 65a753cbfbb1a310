"""The processes of a session, from `/proc` where that is there, and from `ps`, as on macOS."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from callboard.processes.process_tree import ProcessTree

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = [
    pytest.param("proc", marks=pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="there is no /proc")),
    pytest.param("ps", marks=pytest.mark.skipif(shutil.which("ps") is None, reason="ps is not installed")),
]


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where processes are looked for."""
    if request.param == "ps":
        exists = os.path.exists
        monkeypatch.setattr(os.path, "exists", lambda path: path != "/proc/self/stat" and exists(path))


@pytest.fixture
def session() -> Iterator[subprocess.Popen[str]]:
    """A session of a shell and two processes that it has started, one of which leads a group of its own and prints its
    number."""
    script = "sleep 1000 & set -m; sleep 1000 & echo $!; wait"
    process = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    with process, process.stdout:
        yield process
        for group in ProcessTree(process.pid).groups():
            os.killpg(group, signal.SIGKILL)


@pytest.mark.usefixtures("source")
def test_the_groups_of_a_session_are_found_until_they_have_ended(session: subprocess.Popen[str]) -> None:
    assert session.stdout is not None
    own_group = int(session.stdout.readline())
    tree = ProcessTree(session.pid)
    assert tree.groups() == {session.pid, own_group}
    assert tree.alive()
    assert os.getpgrp() not in tree.groups()
    os.killpg(own_group, signal.SIGKILL)
    os.killpg(session.pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while tree.groups():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_session_0_has_no_processes() -> None:
    assert ProcessTree(0).groups() == set()
