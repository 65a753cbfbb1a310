"""Fixtures: installations that are in order, for tests to break."""

from __future__ import annotations

import sysconfig
from typing import TYPE_CHECKING

import pytest
from doctor_tools import PACKAGE, Doctor, make_environment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path / "home")


@pytest.fixture
def fresh(tmp_path: Path) -> Doctor:
    """The user of a new environment, which has the same packages and no kernelspec."""
    return Doctor(
        tmp_path / "home", make_environment(tmp_path / "new", str(PACKAGE.parent), sysconfig.get_path("purelib"))
    )


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """The interpreter of an environment without any package."""
    return make_environment(tmp_path / "bare")


@pytest.fixture
def package_alone(tmp_path: Path) -> Path:
    """A folder with the package, without what is installed beside it."""
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "callboard").symlink_to(PACKAGE)
    return folder
