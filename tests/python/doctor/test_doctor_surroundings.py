"""Files beside the notebook, sockets, folders and the history file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from doctor_tools import OPTIONS

if TYPE_CHECKING:
    from doctor_tools import Doctor

OLD = [sys.executable, "-m", "callboard", *OPTIONS]

# -- files with names of modules ---------------------------------------------------------------------------------


def put(folder: Path, name: str) -> Path:
    """A file, or with a slash at the end a package, that ends a program that imports it."""
    file = folder / name
    if name.endswith("/"):
        file.mkdir()
        (file / "__init__.py").write_text("raise SystemExit('the file of the user')")
    else:
        file.write_text("raise SystemExit('the file of the user')")
    return file


@pytest.mark.parametrize("name", ["json.py", "queue.pyc", "asyncio/", "types.py", "random.py"])
def test_the_name_of_the_standard_library(doctor: Doctor, name: str) -> None:
    file = put(doctor.folder, name)
    report = doctor.examine(start=True)
    found = report.one("shadowing", "hidden-by-library", "warning")
    assert found["facts"] == {"file": str(file), "module": name.split(".")[0].rstrip("/")}
    assert report.codes("start") == ["ok"]


@pytest.mark.parametrize("name", ["callboard.py", "IPython/", "traitlets.py", "jedi.py", "psutil.py", "zmq/"])
def test_the_name_of_a_library(doctor: Doctor, name: str) -> None:
    file = put(doctor.folder, name)
    report = doctor.examine("--folder", str(doctor.folder), start=True)
    assert str(file) in report.one("shadowing", "named-as-library", "warning")["text"]
    assert report.codes("start") == ["ok"]


@pytest.mark.parametrize("name", ["callboard.py", "types.py"])
def test_it_stops_kernels_of_an_old_kernelspec(doctor: Doctor, name: str) -> None:
    doctor.kernelspec("old", OLD, "data")
    file = put(doctor.folder, name)
    report = doctor.examine("--kernel", "old", start=True)
    found = report.one("shadowing", "stops-kernels", "error")
    assert str(file) in found["text"]
    # It tells the truth.
    assert "the kernel ended" in report.one("start", "kernel-ended", "error")["text"]
    doctor.mend(found["mend"].removeprefix("rename it, and "))
    mended = doctor.examine("--kernel", "old", start=True)
    assert mended.codes("start") == ["ok"]
    assert mended.code == 0


@pytest.mark.parametrize("name", ["importlib/", "operator.py", "warnings.py", "functools.py", "runpy.py", "json.py"])
def test_it_knows_what_this_python_imports_first(doctor: Doctor, name: str) -> None:
    doctor.kernelspec("old", OLD, "data")
    put(doctor.folder, name)
    report = doctor.examine("--kernel", "old", start=True)
    ended = report.codes("start") == ["kernel-ended"]
    assert report.codes("shadowing") == ["stops-kernels" if ended else "hidden-by-library"]


def test_other_names_are_no_fault(doctor: Doctor) -> None:
    for name in ("mine.py", "json.txt", "my.json.py", "notebook.ipynb", "numpy-1.py"):
        (doctor.folder / name).touch()
    # A folder that is no package hides nothing.
    (doctor.folder / "email").mkdir()
    assert doctor.examine().codes("shadowing") == ["ok"]


def test_another_folder_is_named(doctor: Doctor) -> None:
    (doctor.home / "other").mkdir()
    put(doctor.home / "other", "json.py")
    assert doctor.examine().codes("shadowing") == ["ok"]
    assert doctor.examine("--folder", "../other").codes("shadowing") == ["hidden-by-library"]


def test_a_folder_that_is_gone(doctor: Doctor) -> None:
    code = "import os\nlistdir = os.listdir\ndef fail(path='.'):\n    if str(path).endswith('notebooks'): raise PermissionError(13, 'Permission denied')\n    return listdir(path)\nos.listdir = fail\n"
    found = doctor.examine(**doctor.replace(code)).one("shadowing", "folder-unreadable", "warning")
    assert "Permission denied" in found["text"]


# -- sockets -----------------------------------------------------------------------------------------------------


def can_unshare() -> bool:
    """Whether this user may make a network of its own."""
    try:
        return subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not can_unshare(), reason="needs namespaces of users and networks")
@pytest.mark.parametrize(("transport", "level"), [("tcp", "error"), ("ipc", "warning")])
def test_a_machine_without_loopback(doctor: Doctor, transport: str, level: str) -> None:
    doctor.config(f"c.KernelManager.transport = {transport!r}")
    report = doctor.examine(wrapper=("unshare", "-rn"), start=transport == "ipc")
    assert "no connection to 127.0.0.1 is possible" in report.one("sockets", "no-loopback", level)["text"]
    # The advice is ipc.
    assert report.codes("start") == (["ok"] if transport == "ipc" else ["skipped"])


@pytest.mark.parametrize(("transport", "level"), [("ipc", "error"), ("tcp", "warning")])
def test_a_temporary_folder_with_a_path_too_long_for_sockets(
    doctor: Doctor, tmp_path: Path, transport: str, level: str
) -> None:
    doctor.config(f"c.KernelManager.transport = {transport!r}")
    deep = tmp_path / ("long" * 30)
    deep.mkdir()
    found = doctor.examine(TMPDIR=str(deep)).one("sockets", "no-ipc", level)
    assert "too long" in found["text"]
    assert "TMPDIR" in found["mend"]


# -- folders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["/proc/nowhere", "/dev/null", "/dev/null/below"])
def test_connection_files_cannot_be_written(doctor: Doctor, folder: str) -> None:
    found = doctor.examine(JUPYTER_RUNTIME_DIR=folder).one("files", "runtime-unwritable", "error")
    assert folder in found["text"]
    assert "JUPYTER_RUNTIME_DIR" in found["mend"]


@pytest.mark.parametrize("folder", ["/proc/nowhere", "/dev/null"])
def test_the_folder_of_ipython_cannot_be_written(doctor: Doctor, folder: str) -> None:
    report = doctor.examine(IPYTHONDIR=folder)
    assert folder in report.one("files", "ipython-unwritable", "warning")["text"]


def test_a_full_disk(doctor: Doctor) -> None:
    """No file may grow: what a full disk or a used-up quota looks like."""
    report = doctor.examine(wrapper=("bash", "-c", 'ulimit -f 0; exec "$@"', "bash"))
    for code, level in (
        ("runtime-unwritable", "error"),
        ("ipython-unwritable", "warning"),
        ("no-temporary-folder", "error"),
    ):
        report.one("files", code, level)


def test_connection_files_that_others_can_read(doctor: Doctor) -> None:
    folder = doctor.home / "runtime"
    folder.mkdir(mode=0o755)
    for name in ("kernel-1.json", "kernel-2.json", "nbserver-1.json"):
        (folder / name).touch(mode=0o644)
        (folder / name).chmod(0o644)
    found = doctor.examine().one("files", "connection-files-readable", "warning")
    assert found["facts"]["files"] == [str(folder / "kernel-1.json"), str(folder / "kernel-2.json")]
    assert "kernel-1.json and 1 more" in found["text"]
    doctor.mend(found["mend"])
    assert doctor.examine().codes("files") == ["ok"]


# -- history -----------------------------------------------------------------------------------------------------


@pytest.fixture
def history(doctor: Doctor) -> Path:
    """The history file of a user, made as IPython makes it."""
    file = doctor.home / "ipython" / "profile_default" / "history.sqlite"
    file.parent.mkdir(parents=True)
    code = f"from IPython.core.history import HistoryManager\nfrom IPython.core.interactiveshell import InteractiveShell\nHistoryManager(shell=InteractiveShell(), hist_file={str(file)!r}).end_session()"
    subprocess.run([sys.executable, "-P", "-c", code], env=doctor.env, check=True, capture_output=True)
    return file


def test_a_history_file_in_order(doctor: Doctor, history: Path) -> None:
    before = history.read_bytes()
    report = doctor.examine(start=True)
    assert report.codes("history") == report.codes("start") == ["ok"]
    assert report["history"][0]["facts"]["sessions"] >= 1
    # The kernel that was started is no session.
    assert history.read_bytes() == before


def test_a_history_file_that_is_locked(doctor: Doctor, history: Path) -> None:
    with closing(sqlite3.connect(history, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        report = doctor.examine(start=True)
        assert str(history) in report.one("history", "history-locked", "warning")["text"]
        assert report.codes("start") == ["ok"]
    assert doctor.examine().codes("history") == ["ok"]


@pytest.mark.parametrize("damage", ["garbage", "torn"])
def test_a_history_file_that_is_damaged(doctor: Doctor, history: Path, damage: str) -> None:
    content = history.read_bytes()
    history.write_bytes(b"no database at all " * 500 if damage == "garbage" else content[:5000] + b"\xff" * 4000)
    found = doctor.examine().one("history", "history-damaged", "warning")
    assert str(history) in found["text"]
    doctor.mend(found["mend"])
    assert doctor.examine().codes("history") == ["skipped"]


def test_a_history_file_that_cannot_be_opened(doctor: Doctor) -> None:
    file = doctor.home / "ipython" / "profile_default" / "history.sqlite"
    file.mkdir(parents=True)
    doctor.examine().one("history", "history-unwritable", "warning")


def test_a_link_to_nowhere_is_no_history(doctor: Doctor) -> None:
    file = doctor.home / "ipython" / "profile_default" / "history.sqlite"
    file.parent.mkdir(parents=True)
    file.symlink_to("/nowhere/history.sqlite")
    doctor.examine().one("history", "history-unwritable", "warning")


def test_a_python_without_sqlite(doctor: Doctor) -> None:
    hidden = "import sys\nsys.modules['sqlite3'] = None\n"
    doctor.examine(**doctor.replace(hidden)).one("history", "no-sqlite", "warning")


def test_nothing_stays_in_the_temporary_folder(doctor: Doctor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert doctor.examine(start=True, TMPDIR=folder).code == 0
        assert list(Path(folder).iterdir()) == []


def test_the_history_of_the_profile_that_the_kernel_has(doctor: Doctor, history: Path) -> None:
    history.parent.rename(history.parent.with_name("profile_work"))
    doctor.kernelspec("mine", [*OLD, "--profile", "work"])
    assert doctor.examine("--kernel", "mine").codes("history") == ["ok"]
    assert doctor.examine().codes("history") == ["skipped"]
