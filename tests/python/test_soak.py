"""`scripts/soak`, for a few seconds: it works, counts, and says what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import REPOSITORY, TIMEOUT, kernel_binary

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = REPOSITORY / "scripts" / "soak"


def soak(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, timeout=2 * TIMEOUT, check=False
    )


def number(report: str, title: str) -> int:
    (found,) = re.findall(rf"^{title} +(\d+)$", report, re.MULTILINE)
    return int(found)


@pytest.mark.skipif(sys.platform != "linux", reason="what a kernel takes can be seen on Linux only")
def test_each_request_of_a_mixed_load_is_answered(way: str) -> None:
    binary = () if way == "module" else ("--binary", str(kernel_binary()))
    done = soak("--seconds", "5", "--no-flatness", *binary)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert number(done.stdout, "requests sent") == number(done.stdout, "idles") > 50
    assert number(done.stdout, "want a reply") == number(done.stdout, "replies") > 50
    assert number(done.stdout, "problems") == 0
    for work in ("outputs", "errors", "interrupt", "comm", "prompt", "subshell", "tasks and threads", "command"):
        assert number(done.stdout, work) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="what a kernel takes can be seen on Linux only")
def test_a_kernel_that_does_not_do_its_work_is_a_failure(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    deaf.write_text(f'#!/bin/sh\nexec {sys.executable} -m callboard -f "$4" --no-subshells\n')
    deaf.chmod(0o755)
    done = soak("--seconds", "60", "--binary", str(deaf))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "PROBLEM: client" in done.stdout


@pytest.mark.parametrize(
    "options", [["--minutes", "0"], ["--minutes", "many"], ["--clients", "0"], ["--bogus"], ["--binary", "/nowhere"]]
)
def test_wrong_usage_is_told(options: list[str]) -> None:
    done = soak(*options)
    assert done.returncode == 2
    assert options[-1] in done.stderr or options[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_help_says_what_it_does() -> None:
    done = soak("--help")
    assert done.returncode == 0
    for told in ("--minutes", "Exit codes", "within"):
        assert told in done.stdout
