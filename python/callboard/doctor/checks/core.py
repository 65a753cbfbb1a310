"""Whether the compiled module can be imported, and is that of the package."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ...util import missing_core
from ..findings import error, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation


def check(_installation: Installation) -> Iterator[Finding]:
    problem = why_not()
    if problem:
        text, _, mend = problem.partition("; install it again: ")
        yield error("core-missing", text, mend or "see the text of the error")
        return
    from ... import _core

    try:
        version = metadata.version("callboard")
    except metadata.PackageNotFoundError:
        yield warning(
            "not-installed",
            f"callboard {_core.__version__} runs from {Path(_core.__file__).parent}, and is not installed as a package",
            f"{sys.executable} -m pip install callboard",
        )
        return
    if version != _core.__version__:
        yield warning(
            "core-of-another-version",
            f"the package is callboard {version}, its compiled module is that of {_core.__version__}",
            f"{sys.executable} -m pip install --force-reinstall callboard",
        )
        return
    yield ok(f"callboard {version} on Python {'.'.join(map(str, sys.version_info[:3]))}, {sys.executable}")


def why_not() -> str | None:
    """Why the compiled module cannot be imported; None if it can."""
    try:
        from ... import _core  # noqa: F401
    except ImportError as failure:
        return missing_core.reason(failure)
    return None
