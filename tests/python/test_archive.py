"""The archive of the kernel binary: its launcher finds libpython, or says what to install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from kernels_by_hand import one_line
from support import TIMEOUT, Kernel

ARCHIVE = os.environ.get("CALLBOARD_ARCHIVE", "")

pytestmark = [
    pytest.mark.skipif("sys.platform != 'linux'", reason="patchelf is for Linux"),
    pytest.mark.skipif(not ARCHIVE, reason="CALLBOARD_ARCHIVE names none: scripts/archive builds one"),
]


class Unpacked:
    """An unpacked archive, as on another machine: its binary knows no folder that has libpython."""

    def __init__(self, folder: Path) -> None:
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(folder, filter="data")
        (top,) = folder.iterdir()
        self.launcher = top / "kernel"
        (self.binary,) = top.glob("kernel-3*")
        self.patch("--remove-rpath")

    def patch(self, *options: str) -> None:
        subprocess.run([Path(sys.executable).with_name("patchelf"), *options, self.binary], check=True)

    def run(self, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.launcher, *options], env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )


@pytest.fixture
def unpacked(tmp_path: Path) -> Unpacked:
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    return Unpacked(folder)


@pytest.fixture
def without_python(tmp_path: Path) -> str:
    """A PATH on which there is what the launcher uses, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cat", "dirname"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


@pytest.mark.parametrize("before", [None, "", "/nowhere:/no where"])
def test_cells_run_and_do_not_see_the_loaders_path(
    unpacked: Unpacked, tmp_path: Path, before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_KERNEL_BIN", str(unpacked.launcher))
    env = {} if before is None else {"LD_LIBRARY_PATH": before}
    with closing(Kernel("binary", tmp_path, **env)) as kernel, kernel.connect() as client:
        code = "import os; [os.environ.get('LD_LIBRARY_PATH'), [name for name in os.environ if 'LOADER' in name]]"
        assert client.run(code).result == repr([before or None, []])
        # Nor do their processes.
        assert client.run("!echo ${LD_LIBRARY_PATH-none}").stdout.strip() == (before or "none")


@pytest.mark.parametrize("options", [["--python", sys.executable], [f"--python={sys.executable}"]])
def test_it_asks_the_python_that_is_named(unpacked: Unpacked, without_python: str, options: list[str]) -> None:
    done = unpacked.run("--version", *options, PATH=without_python)
    assert done.returncode == 0, done.stderr


def test_it_asks_the_environment_that_is_active(unpacked: Unpacked, without_python: str) -> None:
    assert unpacked.run("--version", PATH=without_python, VIRTUAL_ENV=sys.prefix).returncode == 0


def test_it_asks_the_python_on_the_path(unpacked: Unpacked, without_python: str) -> None:
    python = Path(without_python, "python3")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    assert unpacked.run("--version", PATH=without_python).returncode == 0


@pytest.mark.parametrize("python", [None, "broken", "missing"])
def test_a_missing_libpython_is_named_with_what_to_do(
    unpacked: Unpacked, without_python: str, python: str | None
) -> None:
    if python == "broken":
        Path(without_python, "python3").write_text("#!/bin/sh\nexit 1\n")
        Path(without_python, "python3").chmod(0o755)
    # Also on a system that has it where the loader looks.
    version = "{}.{}".format(*sys.version_info[:2])
    unpacked.patch("--replace-needed", f"libpython{version}.so.1.0", "libpython-of-nowhere.so")
    options = ["--python", "/missing/python3"] if python == "missing" else []
    done = unpacked.run("--version", *options, PATH=without_python)
    assert done.returncode == 1
    assert done.stdout == ""
    loaders, ours = done.stderr.splitlines()
    assert "libpython-of-nowhere.so" in loaders
    assert f"apt-get install libpython{version}" in one_line(ours)
    assert "pip install callboard" in ours


def test_the_exit_code_and_the_options_are_the_kernels(unpacked: Unpacked) -> None:
    done = unpacked.run("--no-such-option", PATH=os.environ["PATH"], VIRTUAL_ENV=sys.prefix)
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr
