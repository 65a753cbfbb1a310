"""ipykernel beside callboard, which is no fault."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from ...ipykernel_api.modules import VERSION
from ..findings import ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation


def check(_installation: Installation) -> Iterator[Finding]:
    answered = VERSION["__version__"]
    try:
        version = metadata.version("ipykernel")
    except metadata.PackageNotFoundError:
        yield ok(f"not installed; `import ipykernel` on callboard gives callboard's ({answered})", version=None)
        return
    yield ok(
        f"{version} beside it, for kernels of its own; `import ipykernel` on callboard gives callboard's ({answered})",
        version=version,
    )
