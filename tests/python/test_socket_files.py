"""Sockets and connection files are for their owner only, and are removed at the end."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from kernels_by_hand import Started, mode, one_line, start_in_vain, write_connection
from support import TIMEOUT


def test_sockets_of_ipc_are_for_their_owner_only(way: str, folder: Path) -> None:
    """Also in a folder with mode 0777 and under umask 0."""
    folder.chmod(0o777)
    file = write_connection(folder, transport="ipc", ip=str(folder / "open"))
    before = os.umask(0)
    try:
        started = Started(way, folder, "-f", file)
    finally:
        os.umask(before)
    with started, started.connect(file) as client:
        sockets = list(folder.glob("open-*"))
        assert len(sockets) == 5
        assert {mode(path) & 0o077 for path in sockets} == {0}
        made = client.run(f"import os; f = open({str(folder / 'made')!r}, 'w'); oct(os.umask(0))")
        assert made.result == "'0o0'", "the mask of cells is the user's"
        assert mode(folder / "made") & 0o777 == 0o666
        started.shut_down(client)
        assert list(folder.glob("open-*")) == []


def test_a_folder_for_sockets_that_is_missing_is_made_private(way: str, folder: Path) -> None:
    file = write_connection(folder, transport="ipc", ip=str(folder / "new" / "kernel"))
    with Started(way, folder, "-f", file) as started, started.connect(file) as client:
        assert mode(folder / "new") == 0o700
        assert client.run("1 + 1").result == "2"


@pytest.mark.parametrize("end", ["shutdown", "stuck"])
def test_a_kernel_of_its_own_on_ipc_has_a_private_folder_and_removes_it(way: str, folder: Path, end: str) -> None:
    with Started(way, folder, "--transport=ipc", "--shutdown-deadline=1", XDG_RUNTIME_DIR=str(folder)) as started:
        file = started.announced()
        info = json.loads(file.read_text())
        private = Path(info["ip"]).parent
        assert private.parent == folder
        assert mode(private) == 0o700
        assert mode(file) == 0o600
        assert len(list(private.iterdir())) == 5
        with started.connect(file) as client:
            assert client.run("1 + 1").result == "2"
            if end == "stuck":
                client.start("print('started'); import ctypes; ctypes.PyDLL(None).sleep(1000)")
            started.shut_down(client)
        assert not private.exists()
        assert not file.exists()


def test_two_kernels_that_share_a_prefix_do_not_share_sockets(way: str, folder: Path) -> None:
    options = ("--transport=ipc", f"--ip={folder / 'both'}")
    with Started(way, folder, *options) as one, one.connect(one.announced()) as first:
        with Started(way, folder, *options) as two, two.connect(two.announced()) as second:
            assert first.run("import os; os.getpid()").result == str(one.process.pid)
            assert second.run("import os; os.getpid()").result == str(two.process.pid)
            assert len(list(folder.glob("both-*"))) == 10
            two.shut_down(second)
        assert len(list(folder.glob("both-*"))) == 5
        assert first.run("1 + 1").result == "2"


def test_a_socket_that_is_in_use_is_not_taken_away(way: str, folder: Path) -> None:
    file = write_connection(folder, transport="ipc", ip=str(folder / "k"))
    with Started(way, folder, "-f", file) as first, first.connect(file) as client:
        line = one_line(start_in_vain(way, folder, "-f", file))
        assert "Another process listens there" in line
        assert client.run("1 + 1").result == "2"


def test_a_socket_that_was_left_behind_is_replaced(way: str, folder: Path) -> None:
    file = write_connection(folder, transport="ipc", ip=str(folder / "k"))
    for _ in range(2):
        with Started(way, folder, "-f", file) as started, started.connect(file) as client:
            assert client.run("1 + 1").result == "2"
            started.process.send_signal(signal.SIGKILL)
            assert started.process.wait(TIMEOUT) == -signal.SIGKILL
    assert len(list(folder.glob("k-*"))) == 5


@pytest.mark.parametrize("in_the_way", ["file", "folder", "link"])
def test_what_is_no_socket_is_not_removed(way: str, folder: Path, in_the_way: str) -> None:
    file = write_connection(folder, transport="ipc", ip=str(folder / "k"))
    number = json.loads(Path(file).read_text())["hb_port"]
    path = folder / f"k-{number}"
    if in_the_way == "folder":
        path.mkdir()
    elif in_the_way == "link":
        path.symlink_to("precious")
    else:
        path.write_text("precious")
    line = one_line(start_in_vain(way, folder, "-f", file))
    assert str(path) in line
    assert "no socket" in line
    assert path.is_dir() or path.is_symlink() or path.read_text() == "precious"
    assert list(folder.glob("k-*")) == [path], "the sockets that were bound are removed"


@pytest.mark.parametrize(
    ("ip", "told"),
    [
        ("", "path"),
        ("*", "path"),
        ("a\0b", "path"),
        ("/proc/nowhere/k", "/proc/nowhere"),
        ("/" + "x" * 200, "too long"),
    ],
)
def test_a_prefix_for_sockets_that_cannot_be_is_told(way: str, tmp_path: Path, ip: str, told: str) -> None:
    assert told in one_line(start_in_vain(way, tmp_path, "-f", with_prefix(tmp_path, ip)))


def with_prefix(folder: Path, ip: str) -> str:
    file = Path(write_connection(folder))
    file.write_text(json.dumps({**json.loads(file.read_text()), "transport": "ipc", "ip": ip}))
    return str(file)


@pytest.mark.parametrize(("permissions", "told"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_connection_file_that_others_can_read_is_a_warning(
    way: str, tmp_path: Path, permissions: int, told: bool
) -> None:
    file = write_connection(tmp_path)
    Path(file).chmod(permissions)
    with Started(way, tmp_path, "-f", file) as started, started.connect(file) as client:
        assert client.run("1 + 1").result == "2"
        started.shut_down(client)
        assert ("others can read the connection file" in started.terminal) == told
        assert started.terminal.count("\n") == int(told)
