"""Whether the compiled module can be imported, and is that of the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ...util import missing_core
from ..findings import error, ok, warning
from ..packages import installed_version, pip_install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation


def check(_installation: Installation) -> Iterator[Finding]:
    problem = core_problem()
    if problem:
        text, mend = problem
        yield error("core-missing", text, mend or "see the text of the error")
        return
    from ... import _core

    version = installed_version("callboard")
    if version is None:
        yield warning(
            "not-installed",
            f"callboard {_core.__version__} runs from {Path(_core.__file__).parent}, and is not installed as a package",
            pip_install("callboard"),
        )
        return
    if version != _core.__version__:
        yield warning(
            "core-of-another-version",
            f"the package is callboard {version}, its compiled module is that of {_core.__version__}",
            pip_install("--force-reinstall", "callboard"),
        )
        return
    yield ok(f"callboard {version} on Python {'.'.join(map(str, sys.version_info[:3]))}, {sys.executable}")


def core_problem() -> tuple[str, str] | None:
    """Why the compiled module cannot be imported, and the command that mends it; None if it can."""
    try:
        from ... import _core  # noqa: F401
    except ImportError as failure:
        return missing_core.problem(failure)
    return None
