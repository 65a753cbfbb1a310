"""The packages of this environment, and how to install them."""

from __future__ import annotations

import shlex
import sys
from importlib import metadata


def installed_version(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def pip_install(*arguments: str, python: str = sys.executable) -> str:
    """The command line that installs these packages into the environment of an interpreter."""
    return shlex.join([python, "-m", "pip", "install", *arguments])
