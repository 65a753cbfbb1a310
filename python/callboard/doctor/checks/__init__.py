"""The checks, each of which yields at least one finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import (
    core,
    culling,
    encryption,
    files,
    history,
    ipykernel,
    kernelspec,
    lab,
    other_jupyters,
    python,
    shadowing,
    sockets,
    start,
    versions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..findings import Finding
    from ..installation import Installation

#: In the order of the report: what others depend on comes first.
CHECKS: dict[str, Callable[[Installation], Iterable[Finding]]] = {
    "core": core.check,
    "python": python.check,
    "versions": versions.check,
    "ipykernel": ipykernel.check,
    "kernelspec": kernelspec.check,
    "jupyter": other_jupyters.check,
    "shadowing": shadowing.check,
    "sockets": sockets.check,
    "files": files.check,
    "history": history.check,
    "encryption": encryption.check,
    "lab": lab.check,
    "server": culling.check,
    "start": start.check,
}
