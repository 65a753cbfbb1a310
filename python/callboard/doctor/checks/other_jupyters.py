"""Whether the Jupyter on the PATH finds the kernelspec, if it is that of another environment."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..ask import ask
from ..findings import error, ok, warning
from ..packages import pip_install
from ..pythons import install_command, interpreter_of, is_this

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation

_COMMANDS = ("jupyter-lab", "jupyter-notebook", "jupyter")


def check(installation: Installation) -> Iterator[Finding]:
    found = list(_of_others(installation))
    yield from found
    if not found:
        on_path = [name for name in _COMMANDS if shutil.which(name)]
        yield ok(f"{', '.join(on_path)} on the PATH: of this environment" if on_path else "none on the PATH")


def _of_others(installation: Installation) -> Iterator[Finding]:
    seen = set()
    for name in _COMMANDS:
        script = shutil.which(name)
        python = interpreter_of(script) if script else None
        if script is None or python is None or python in seen or is_this(python):
            continue
        seen.add(python)
        # Not in the notebook's folder, and without -P, which an earlier Python does not know.
        command = [python, "-m", "jupyter_client.kernelspecapp", "list", "--json"]
        answer = ask(command, installation.left(5), Path(sys.prefix))
        try:
            kernels = json.loads(answer.stdout)["kernelspecs"]
            sees = isinstance(kernels, dict) and installation.kernel in kernels
        except (ValueError, KeyError, TypeError):
            yield warning(
                "jupyter-fails",
                f"{script} does not run: {answer.problem or 'it lists no kernelspecs'}",
                f"{pip_install('--force-reinstall', 'jupyter_client', python=python)}, or take it off the PATH",
                script=script,
                python=python,
            )
            continue
        if sees:
            yield ok(f"{script} is that of another environment, and finds the kernelspec", script=script, python=python)
            continue
        # Where this environment has no server, that one is the only one there is.
        tell = warning if find_spec("jupyter_server") else error
        yield tell(
            "jupyter-elsewhere",
            f"{script} is that of another environment, and does not find the kernelspec {installation.kernel}",
            install_command("--user", name=installation.kernel),
            script=script,
            python=python,
        )
