"""ipykernel beside callboard, which is no fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ipykernel_api.modules import VERSION
from ..findings import ok
from ..packages import installed_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation


def check(_installation: Installation) -> Iterator[Finding]:
    answered = VERSION["__version__"]
    version = installed_version("ipykernel")
    if version is None:
        yield ok(f"not installed; `import ipykernel` on callboard gives callboard's ({answered})", version=None)
        return
    yield ok(
        f"{version} beside it, for kernels of its own; `import ipykernel` on callboard gives callboard's ({answered})",
        version=version,
    )
