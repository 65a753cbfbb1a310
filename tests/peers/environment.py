"""The environment that the suites run in, and the kernelspecs that they find there.

``python -m peers.environment PLACE WHEEL SUITE...`` makes both, with the sources: ``PLACE/venv`` is of the Python that
runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .sources import FetchError, fetch
from .suites import Suite, read_suites

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Names of kernelspecs that the suites start. `echo` is a kernel of pytest-jupyter's; where its tests use it, any
#: kernel for Python will do.
NAMES = ("python3", "echo")


def python_of(place: Path) -> Path:
    return place / "venv" / "bin" / "python"


def jupyter_path(place: Path, kernel: str) -> Path:
    """What JUPYTER_PATH names: a folder whose kernelspecs all start `kernel`."""
    return place / "kernelspecs" / kernel


def requirements(suites: Iterable[Suite], common: list[str]) -> list[str]:
    """What is installed: the projects in the versions of their sdists, and what their tests need."""
    suites = list(suites)
    return sorted({*common, *(f"{s.name}=={s.version}" for s in suites), *(need for s in suites for need in s.needs)})


def make_venv(place: Path, wanted: list[str]) -> None:
    """Makes the environment, unless it is there with these very packages."""
    record = place / "venv" / "made-of"
    content = "\n".join([sys.version, *wanted])
    if record.is_file() and record.read_text() == content:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(place / "venv")], check=True)
    _pip(place, *wanted)
    record.write_text(content)


def install_callboard(place: Path, wheel: Path) -> None:
    """Installs a wheel of callboard, whatever of this version is there already, and what it depends on."""
    _pip(place, "--force-reinstall", "--no-deps", str(wheel))
    _pip(place, str(wheel))


def write_kernelspecs(place: Path) -> None:
    """Writes kernelspecs of both kernels under the names that the suites start."""
    commands = {
        "callboard": ["-c", "import sys, callboard.cli; sys.exit(callboard.cli.main())", "install"],
        "ipykernel": ["-m", "ipykernel", "install", "--display-name", "Python 3"],
    }
    for kernel, command in commands.items():
        prefix = place / "prefixes" / kernel
        for name in NAMES:
            run = [str(python_of(place)), *command, "--prefix", str(prefix), "--name", name]
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL, env=environment(place))
        link = jupyter_path(place, kernel)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(prefix / "share" / "jupyter", target_is_directory=True)


def environment(place: Path, kernel: str | None = None) -> dict[str, str]:
    """Environment variables without those of this user's Jupyter, IPython and Python."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER_", "IPYTHON", "CALLBOARD_", "PYTEST_")) and name not in ("PYTHONPATH", "CI")
    }
    home = place / "home"
    home.mkdir(parents=True, exist_ok=True)
    kept |= {
        "HOME": str(home),
        "PATH": f"{python_of(place).parent}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "VIRTUAL_ENV": str(place / "venv"),
    }
    if kernel:
        kept["JUPYTER_PATH"] = str(jupyter_path(place, kernel))
    return kept


def _pip(place: Path, *arguments: str) -> None:
    pip = [str(python_of(place)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *arguments], check=True)


def main() -> int:
    place, wheel, *names = sys.argv[1:]
    suites, common = read_suites()
    try:
        for name in names or suites:
            fetch(suites[name], Path(place))
        # One environment for all, whichever are run.
        make_venv(Path(place), requirements(suites.values(), common))
        install_callboard(Path(place), Path(wheel))
        write_kernelspecs(Path(place))
    except FetchError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"{error.cmd[0]} has ended with exit code {error.returncode}; what it says is above", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
