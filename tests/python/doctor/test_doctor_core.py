"""Where the compiled module cannot be imported, all programs say why in one sentence, and the doctor does its work."""

from __future__ import annotations

import ast
import importlib.machinery
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import callboard
import pytest
from callboard import _core
from doctor_tools import PACKAGE
from support import TIMEOUT

if TYPE_CHECKING:
    from doctor_tools import Doctor

#: The ending of compiled modules of this Python, as in ``cpython-311-x86_64-linux-gnu``.
OWN = importlib.machinery.EXTENSION_SUFFIXES[0].removeprefix(".").removesuffix(".so")

#: The script that pip makes.
SCRIPT = str(Path(sys.executable).parent / "callboard")


@pytest.fixture
def package(doctor: Doctor, tmp_path: Path) -> Path:
    """A copy of the package without its compiled module, which is found first."""
    copy = tmp_path / "copy" / "callboard"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("_core.*.so", "__pycache__"))
    doctor.env["PYTHONPATH"] = str(copy.parent)
    return copy


def run(doctor: Doctor, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=doctor.env, cwd=doctor.folder, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def only_line(doctor: Doctor) -> str:
    """What the programs say: the same, in one line."""
    lines = set()
    for command in ([sys.executable, "-P", "-m", "callboard", "-f", "x.json"], [SCRIPT, "list"], [SCRIPT, "start"]):
        done = run(doctor, *command)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        lines.add(done.stderr.strip())
    assert len(lines) == 1
    return lines.pop()


@pytest.mark.parametrize(
    ("tag", "told"),
    [
        (None, "compiled module is missing in"),
        ("cpython-39-x86_64-linux-gnu", "was built for Python 3.9 on x86_64 with glibc"),
        (OWN.replace("x86_64", "riscv64").replace("aarch64", "riscv64"), "on riscv64 with glibc"),
        (OWN.replace("-gnu", "-musl"), "with musl"),
        ("pypy311-pp73-x86_64-linux-gnu", "was built for pypy311-pp73-x86_64-linux-gnu"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the tags are those of Linux")
def test_a_module_for_another_python_or_system(doctor: Doctor, package: Path, tag: str | None, told: str) -> None:
    if tag:
        shutil.copy(_core.__file__, package / f"_core.{tag}.so")
    line = only_line(doctor)
    assert line.startswith("callboard's compiled module ")
    assert told in line
    if tag:
        assert f"{sys.executable} is Python {sys.version_info[0]}.{sys.version_info[1]}" in line
    assert f"{sys.executable} -m pip install --force-reinstall callboard" in line


def test_a_file_that_is_no_module(doctor: Doctor, package: Path) -> None:
    (package / f"_core.{OWN}.so").write_bytes(b"not a shared library, and long enough to be read as one" * 10)
    assert "cannot be loaded: the file is damaged" in only_line(doctor)


@pytest.mark.skipif(sys.platform != "linux", reason="changes an ELF header")
def test_a_module_for_another_processor_whose_name_does_not_tell(doctor: Doctor, package: Path) -> None:
    content = bytearray(Path(_core.__file__).read_bytes())
    content[4] = 1  # 32 bits
    (package / f"_core.{OWN}.so").write_bytes(content)
    assert "cannot be loaded: it was built for another processor architecture" in only_line(doctor)


@pytest.mark.skipif(not shutil.which("cc") or sys.platform != "linux", reason="needs a C compiler")
def test_a_module_whose_libpython_is_missing(doctor: Doctor, package: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.c"
    empty.touch()
    build = ["cc", "-shared", "-o"]
    subprocess.run([*build, "libpython3.99.so.1.0", empty], check=True, cwd=tmp_path)
    subprocess.run(
        [*build, package / f"_core.{OWN}.so", empty, "-Wl,--no-as-needed", "-L.", "-l:libpython3.99.so.1.0"],
        check=True,
        cwd=tmp_path,
    )
    line = only_line(doctor)
    assert "shared library of Python (libpython)" in line
    assert "libpython3.99.so.1.0" in line


def test_a_library_gets_an_import_error(doctor: Doctor, package: Path) -> None:
    code = "try:\n    import callboard\nexcept ImportError as error:\n    print(error.name, error)"
    done = run(doctor, sys.executable, "-P", "-c", code)
    assert done.stdout.startswith(f"callboard._core callboard's compiled module is missing in {package}")


@pytest.mark.parametrize("command", [[SCRIPT, "doctor"], [sys.executable, "-P", "-m", "callboard.doctor"]])
def test_the_doctor_works_without_it(doctor: Doctor, package: Path, command: list[str]) -> None:
    done = run(doctor, *command, "--json")
    assert done.stderr == ""
    assert done.returncode == 1
    findings = {(each["check"], each["code"]): each for each in json.loads(done.stdout)["findings"]}
    missing = findings["core", "core-missing"]
    assert missing["level"] == "error"
    assert missing["text"] == f"callboard's compiled module is missing in {package}"
    assert missing["mend"] == f"{sys.executable} -m pip install --force-reinstall callboard"
    assert findings["start", "skipped"]["text"] == "callboard's compiled module is missing"
    # All others are made.
    assert ("server", "ok") in findings
    assert ("kernelspec", "ok") in findings
    assert not any(each["code"] == "not-checked" for each in findings.values())


#: Lets a program believe that its Python is an old one.
OLD = """
import sys
sys.version_info = (3, 9, 2, "final", 0)
del sys.orig_argv
sys.argv = {argv}
import callboard
"""


@pytest.mark.parametrize("argv", [["-m"], [SCRIPT, "list"], [SCRIPT, "doctor"]])
def test_a_python_that_is_too_old(doctor: Doctor, package: Path, argv: list[str]) -> None:
    done = run(doctor, sys.executable, "-c", OLD.format(argv=argv))
    assert done.returncode == 1
    assert done.stderr == (
        f"callboard needs Python 3.11 or later, and {sys.executable} is Python 3.9.2: install it for a later one\n"
    )


@pytest.mark.parametrize("file", ["__init__", "__main__", "util/__init__", "util/search_path", "util/missing_core"])
def test_a_python_that_is_too_old_can_read_what_it_runs(file: str) -> None:
    ast.parse((PACKAGE / f"{file}.py").read_text(), feature_version=(3, 7))


def test_a_package_of_another_version_than_its_compiled_module(doctor: Doctor, tmp_path: Path) -> None:
    info = tmp_path / "info" / "callboard-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: callboard\nVersion: 9.9\n")
    found = doctor.examine(PYTHONPATH=str(info.parent)).one("core", "core-of-another-version", "warning")
    assert "9.9" in found["text"]
    assert callboard.__version__ in found["text"]


def test_a_package_that_is_not_installed(doctor: Doctor, bare: str, package_alone: Path) -> None:
    doctor.python = bare
    report = doctor.examine(PYTHONPATH=str(package_alone))
    assert str(package_alone / "callboard") in report.one("core", "not-installed", "warning")["text"]


def test_an_environment_with_nothing_but_callboard(doctor: Doctor, bare: str) -> None:
    """What the package needs is missing: the doctor needs no library."""
    doctor.python = bare
    info = next(Path(sysconfig.get_path("purelib")).glob("callboard-*.dist-info"))
    site = Path(next((Path(bare).parent.parent / "lib").glob("python3*/site-packages")))
    shutil.copytree(info, site / info.name)
    os.symlink(PACKAGE, site / "callboard")
    report = doctor.examine(start=True)
    assert "jupyter_client" in report.one("kernelspec", "no-jupyter-client", "error")["text"]
    missing = report.one("versions", "versions-too-old", "error")
    assert "ipython is missing" in missing["text"]
    assert {"comm", "ipython", "jupyter-client", "matplotlib-inline", "traitlets"} == set(missing["facts"]["versions"])
    assert report.codes("start") == ["skipped"]
    assert not any(finding["code"] == "not-checked" for finding in report.content["findings"])
