"""Whether this is the Python that the user has in mind."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

from ..ask import ask
from ..findings import ok, warning
from ..packages import pip_install
from ..pythons import is_this

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation


def check(installation: Installation) -> Iterator[Finding]:
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        active = os.environ.get(variable)
        if not active:
            continue
        if os.path.realpath(active) == os.path.realpath(sys.prefix):
            break
        yield _elsewhere(variable, active)
        return
    python = shutil.which("python") or shutil.which("python3")
    if python and not is_this(python):
        # It may be a script that chooses one.
        answer = ask(
            [python, "-I", "-c", "import sys; print(sys.executable)"], installation.left(5), installation.folder
        )
        real = answer.stdout.strip()
        if answer.problem or not real:
            yield warning(
                "python-fails",
                f"{python}, the first on the PATH, does not run: {answer.problem or 'it prints nothing'}",
                "take its folder off the PATH, or mend that installation of Python",
            )
            return
        if not is_this(real):
            yield warning(
                "another-python-on-path",
                f"`{os.path.basename(python)}` on the PATH is {real}: what its pip installs is not there in notebooks",
                f"install packages for notebooks with {shlex.quote(sys.executable)} -m pip",
                python=real,
            )
            return
    yield ok(f"the environment is {sys.prefix}")


def _elsewhere(variable: str, active: str) -> Finding:
    python = os.path.join(active, "bin", "python")
    if not os.path.exists(python):
        return warning(
            "environment-missing", f"{variable} names {active}, which has no Python", f"unset {variable}", active=active
        )
    return warning(
        "another-environment",
        f"{variable} is {active}, but this callboard is in {sys.prefix}: what you install is missing in notebooks",
        pip_install("callboard", python=python),
        active=active,
    )
