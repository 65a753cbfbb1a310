"""Which environment an interpreter or a script belongs to."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from ..kernelspec import NAME


def is_this(python: str) -> bool:
    """Whether an interpreter is the one that runs, in the same environment."""
    own = Path(sys.prefix).resolve() if sys.prefix != sys.base_prefix else None
    return os.path.realpath(python) == os.path.realpath(sys.executable) and _venv_of(python) == own


def _venv_of(python: str) -> Path | None:
    """The virtual environment of an interpreter. As Python does, it looks beside the link, not beside its target."""
    folder = Path(os.path.abspath(python)).parent.parent
    return folder.resolve() if (folder / "pyvenv.cfg").is_file() else None


def interpreter_of(script: str) -> str | None:
    """The interpreter that a script of an environment's ``bin`` names in its first line. None if that is no Python."""
    try:
        with open(script, "rb") as file:
            first, second = (file.readline(4096).decode("utf-8", "surrogateescape") for _ in range(2))
    except OSError:
        return None
    if not first.startswith("#!"):
        return None
    try:
        words = shlex.split(first[2:])
        if words[:1] == ["/bin/sh"] and second.startswith("'''exec' "):
            # The form of pip for a path that is too long, or has spaces.
            words = shlex.split(second.removeprefix("'''exec' "))
    except ValueError:
        return None
    if len(words) > 1 and os.path.basename(words[0]) == "env":
        words = [shutil.which(words[1]) or words[1]]
    if not words or not os.path.basename(words[0]).startswith(("python", "pypy")):
        return None
    return words[0]


def install_command(*options: str, name: str) -> str:
    """The command line that installs a kernelspec of this callboard, which need not be the one on the PATH."""
    script = os.path.join(os.path.dirname(sys.executable), "callboard")
    found = shutil.which("callboard")
    is_first = found is not None and os.path.realpath(found) == os.path.realpath(script)
    program = script if not is_first and os.path.isfile(script) else "callboard"
    return shlex.join([program, "install", *options, *([] if name == NAME else ["--name", name])])
