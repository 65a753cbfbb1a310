"""Fixtures: kernels where ipykernel is installed, and where it is not."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

#: The names in a folder of packages that are ipykernel's.
IPYKERNEL = ("ipykernel", "ipykernel_launcher.py")


@pytest.fixture(scope="session")
def python_without_ipykernel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with all packages of the one that runs the tests, but for ipykernel."""
    environment = tmp_path_factory.mktemp("without_ipykernel")
    packages = Path(sysconfig.get_path("purelib"))
    target = environment / packages.relative_to(sys.prefix)
    target.mkdir(parents=True)
    for entry in packages.iterdir():
        if entry.name not in IPYKERNEL and not entry.name.startswith("ipykernel-"):
            (target / entry.name).symlink_to(entry)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", environment)
    interpreter = environment / Path(sys.executable).relative_to(sys.prefix)
    interpreter.parent.mkdir()
    interpreter.symlink_to(sys.executable)
    return str(interpreter)


@pytest.fixture(scope="module", params=["with ipykernel", "without ipykernel"])
def python(request: pytest.FixtureRequest) -> str:
    """The interpreter that runs the kernels: in the environment of the tests, which has ipykernel, or in one without.

    `client`, `kernel`, `start_kernel` and the like start kernels with both, both ways."""
    if request.param == "with ipykernel":
        return sys.executable
    interpreter: str = request.getfixturevalue("python_without_ipykernel")
    return interpreter


@pytest.fixture
def has_ipykernel(python: str) -> bool:
    """Whether ipykernel is installed beside the kernel."""
    return python == sys.executable
