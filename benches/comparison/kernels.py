"""Which kernels are compared, and how each of them is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .environments import KERNELSPECS, kernelspec_of, python_of

REPOSITORY = Path(__file__).resolve().parents[2]

#: The kernel that is compared with the others.
OURS = "callboard"

#: The limit of the round trips: no kernel, and no peer.
ECHO = "bare-echo"

#: All of them, in the order of the tables.
NAMES = ("callboard", "ipykernel", "async-kernel", "xeus-python", ECHO)

#: Packages whose versions the page names, if they are in the environment of a kernel.
PACKAGES = ("callboard", "ipykernel", "async-kernel", "xeus-python", "ipython", "pyzmq", "trio", "uvloop")

VERSIONS = """
import importlib.metadata, json, platform, sys
found = {"Python": platform.python_version()}
for package in sys.argv[1:]:
    try:
        found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Spec:
    """The command that starts a kernel."""

    name: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    interrupt_mode: str = "signal"
    resource_dir: str = ""

    def command(self, connection_file: str) -> list[str]:
        """The command line for this connection file."""
        values = {"{connection_file}": connection_file, "{resource_dir}": self.resource_dir}
        command = list(self.argv)
        for place, value in values.items():
            command = [part.replace(place, value) for part in command]
        return command

    def versions(self) -> dict[str, str]:
        """The versions of what the kernel runs on."""
        if self.name == ECHO:
            return {}
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | self.env
        command = [self.argv[0], "-c", VERSIONS, *PACKAGES]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {}


def from_folder(name: str, folder: Path) -> Spec:
    """The kernel of the kernelspec in `folder`.

    A kernelspec says `python` or `python3.11` where it means the Python it was installed with; the one of the
    environment that the folder is in is taken, if it is in one.
    """
    spec = json.loads((folder / "kernel.json").read_text())
    argv = list(spec["argv"])
    if not Path(argv[0]).is_absolute() and argv[0].startswith("python"):
        # ENVIRONMENT/share/jupyter/kernels/NAME
        own = python_of(folder.absolute().parents[3])
        argv[0] = str(own) if own.exists() else sys.executable
    env = {key: str(value) for key, value in (spec.get("env") or {}).items()}
    return Spec(name, argv, env, spec.get("interrupt_mode", "signal"), str(folder))


def find(name: str, folder: Path, given: dict[str, Path]) -> Spec:
    """The kernel `name`: of the kernelspec that is given for it, or of the environment that was made for it.

    Raises FileNotFoundError if it is not there.
    """
    if name == ECHO:
        target = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
        echo = target / "release" / "examples" / "bare_echo"
        if not echo.is_file():
            raise FileNotFoundError(f"there is no {echo}")
        return Spec(name, [str(echo), "-f", "{connection_file}"])
    if name in given:
        return from_folder(name, given[name])
    return from_folder(name, kernelspec_of(environment_of(name, folder), name))


def environment_of(name: str, folder: Path) -> Path:
    """The prefix that the kernel `name` is installed in: `scripts/run` installs callboard, others are in `folder`."""
    assert name in KERNELSPECS
    return REPOSITORY / ".venv" if name == OURS else folder / name
