"""Asks other programs, which may be missing, fail or hang."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """What a program has written, or the problem that there is with it."""

    stdout: str = ""
    #: Why there is no answer; None if the program has ended well.
    problem: str | None = None


def ask(command: Sequence[str], seconds: float, folder: Path) -> Answer:
    """Runs a program in this folder for at most so long."""
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Answer(problem=str(error))
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return Answer(problem=f"it did not answer within {seconds:.0f} s")
    finally:
        if process.returncode is None:
            # With its children, which may have its streams open.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode == 0:
        return Answer(stdout)
    last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "")
    return Answer(stdout, last.strip() or f"it ended with code {process.returncode}")
