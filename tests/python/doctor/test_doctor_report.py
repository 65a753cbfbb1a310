"""The report: lines for people, JSON for programs, and the exit code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import REPOSITORY, TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

    from doctor_tools import Doctor


def files_of(folder: Path) -> set[str]:
    return {str(file) for file in folder.rglob("*")}


def test_an_installation_in_order(doctor: Doctor) -> None:
    before = files_of(doctor.home)
    report = doctor.examine(start=True)
    assert report.code == 0
    assert {finding["level"] for finding in report.content["findings"]} <= {"ok", "skipped"}
    assert report.codes("history") == ["skipped"]
    seconds = report["start"][0]["facts"]["seconds"]
    assert list(seconds) == ["ready", "first_cell", "interrupt", "shutdown"]
    assert all(0 < each < 30 for each in seconds.values())
    assert report.content["kernel"] == "callboard"
    assert report.content["folder"] == str(doctor.folder)
    assert report.content["python"]["executable"] == sys.executable
    assert files_of(doctor.home) == before


def test_lines_for_people(doctor: Doctor) -> None:
    doctor.kernelspec("broken", b"{")
    good, bad = doctor.run("--no-start", PYTHONIOENCODING="utf-8"), doctor.run("--no-start", "--kernel", "broken")
    assert (good.returncode, bad.returncode) == (0, 1)
    assert good.stdout.startswith("✓ core        callboard ")
    assert "\n- start       no kernel was started" in good.stdout
    assert good.stdout.endswith("\nNothing is wrong.\n")
    lines = bad.stdout.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("✗ kernelspec  "))
    assert "kernel.json" in lines[at]
    assert (
        lines[at + 1]
        == f"              → rm -r {doctor.home}/path/kernels/broken && callboard install --user --name broken"
    )
    assert lines[-1] == "1 error"


def test_a_terminal_with_ascii_alone(doctor: Doctor) -> None:
    folder = doctor.folder / "höhe"
    folder.mkdir()
    done = doctor.run("--no-start", "--folder", str(folder), "--kernel", "none", PYTHONIOENCODING="ascii")
    assert done.stdout.isascii()
    assert done.stdout.startswith("+ core")
    assert "\nx kernelspec" in done.stdout
    assert "-> callboard install" in done.stdout
    assert "h\\xf6he" in done.stdout


def test_a_name_with_a_line_break_stays_in_its_line(doctor: Doctor) -> None:
    (doctor.folder / "two\nlines").mkdir()
    (doctor.folder / "two\nlines" / "json.py").touch()
    done = doctor.run("--no-start", "--folder", "two\nlines")
    assert "two\\nlines/json.py" in done.stdout


@pytest.mark.parametrize(
    ("args", "told"),
    [(("--no-such-option",), "--no-such-option"), (("--folder", "nowhere"), "nowhere"), (("word",), "word")],
)
def test_a_wrong_use(doctor: Doctor, args: tuple[str, ...], told: str) -> None:
    done = doctor.run(*args)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""


def test_it_is_a_command_of_callboard(doctor: Doctor) -> None:
    command = [sys.executable, "-P", "-c", "import sys; from callboard.cli import main; sys.exit(main())"]
    for args in (["--help"], ["doctor", "--help"]):
        done = subprocess.run(
            [*command, *args], env=doctor.env, capture_output=True, text=True, timeout=TIMEOUT, check=True
        )
        assert "doctor" in done.stdout
    assert all(option in done.stdout for option in ("--json", "--kernel", "--folder", "--no-start"))
    done = subprocess.run(
        [*command, "doctor", "--no-start"], env=doctor.env, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "Nothing is wrong."


def test_a_reader_that_leaves(doctor: Doctor) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "callboard.doctor", "--no-start"],
        env=doctor.env,
        cwd=doctor.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(TIMEOUT) == 1


def test_what_a_check_meets_is_told(doctor: Doctor) -> None:
    code = "import callboard.ipykernel_api.modules as modules\nmodules.VERSION = None\n"
    finding = doctor.examine(**doctor.replace(code)).one("ipykernel", "not-checked", "warning")
    assert "TypeError" in finding["text"]


def test_no_kernel_imports_it(doctor: Doctor) -> None:
    code = "import callboard.app, callboard.launch, sys\nprint([name for name in sys.modules if 'doctor' in name])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=doctor.env, capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    assert done.stdout == "[]\n"


#: Texts that look like codes.
OTHER_NAMES = {"jupyter-lab", "jupyter-notebook", "user-settings"}


def test_the_page_names_every_code() -> None:
    folder = REPOSITORY / "python/callboard/doctor"
    texts = {
        node.value
        for file in (folder / "command.py", folder / "trial.py", *(folder / "checks").glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    codes = {text for text in texts if re.fullmatch("[a-z]+(-[a-z]+)+", text)} - OTHER_NAMES
    assert len(codes) > 40
    page = (REPOSITORY / "docs/doctor.md").read_text()
    named = re.findall(r"^\| `\w+` \| `([a-z-]+)` \|", page, re.MULTILINE)
    assert sorted(codes) == sorted(set(named))
