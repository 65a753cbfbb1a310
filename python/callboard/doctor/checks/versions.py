"""Whether the libraries are as new as callboard, and the Jupyter beside it, need."""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ..findings import error, ok, warning
from ..packages import installed_version, pip_install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation

#: Programs that start kernels, and what they do so with. What each needs is looked at.
_CLIENTS = ("jupyter_client", "jupyter_core", "jupyter_server", "jupyterlab", "nbclient", "notebook")

#: The first releases that callboard is tested with. Notebook 7.4 is made of JupyterLab 4.4.
_TESTED = {"jupyterlab": "4.4", "notebook": "7.4"}

_SHOWN = ("ipython", "jupyter_client", "jupyterlab", "notebook", "pyzmq")


def check(_installation: Installation) -> Iterator[Finding]:
    requirement = _requirement_class()
    found = [*_own(requirement), *_of_clients(requirement), *_untested(requirement)]
    yield from found
    if not found:
        versions = {name: installed_version(name) for name in _SHOWN}
        shown = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        yield ok(shown or "what callboard needs is there", versions=versions)


def _requirement_class() -> Any:
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return _Minimum
    return Requirement


class _Minimum:
    """Stands in for packaging's `Requirement` where that is missing, as callboard does not need it: understands
    ``name>=1.2``; what is needed under a condition is not looked at, and other limits are not."""

    def __init__(self, line: str) -> None:
        self.name = re.split(r"[\s\[(<>=!~;]", line, maxsplit=1)[0]
        self.marker = self if ";" in line else None
        self.specifier = self
        self._limit = re.search(r">=\s*([\d.]+)", line)

    def __str__(self) -> str:
        return self._limit[0] if self._limit else ""

    def evaluate(self, _environment: object) -> bool:
        return False

    def contains(self, version: str, **_options: object) -> bool:
        return self._limit is None or _numbers(version) >= _numbers(self._limit[1])


def _numbers(version: str) -> list[int]:
    """The numbers of a release, ``1.2.0`` as ``1.2``."""
    numbers = [int(number) for number in re.findall(r"\d+", re.split(r"[^\d.]", version)[0])]
    while numbers[-1:] == [0]:
        numbers.pop()
    return numbers


def _unmet(requirement: Any, package: str) -> list[tuple[Any, str | None]]:
    """What a package needs and does not have: the requirement, and the version that is there."""
    try:
        named = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []
    needs = [requirement(line) for line in named]
    versions = [
        (each, installed_version(each.name))
        for each in needs
        if each.marker is None or each.marker.evaluate({"extra": ""})
    ]
    return [
        (each, version)
        for each, version in versions
        if version is None or not each.specifier.contains(version, prereleases=True)
    ]


def _told(unmet: list[tuple[Any, str | None]]) -> str:
    return ", ".join(
        f"{each.name} is missing" if version is None else f"{each.name} is {version}, not {each.specifier}"
        for each, version in unmet
    )


def _own(requirement: Any) -> Iterator[Finding]:
    unmet = _unmet(requirement, "callboard")
    if unmet:
        versions = {each.name: version for each, version in unmet}
        needs = [f"{each.name}{each.specifier}" for each, _ in unmet]
        yield error(
            "versions-too-old",
            f"callboard needs other versions: {_told(unmet)}",
            pip_install(*needs),
            versions=versions,
        )


def _of_clients(requirement: Any) -> Iterator[Finding]:
    for client in _CLIENTS:
        unmet = _unmet(requirement, client)
        if unmet:
            versions = {each.name: version for each, version in unmet}
            needs = [f"{each.name}{each.specifier}" for each, _ in unmet]
            text = f"{client} {installed_version(client)} needs other versions: {_told(unmet)}"
            yield warning("client-versions-too-old", text, pip_install(*needs), client=client, versions=versions)


def _untested(requirement: Any) -> Iterator[Finding]:
    for client, first in _TESTED.items():
        version = installed_version(client)
        if version is not None and not requirement(f"{client}>={first}").specifier.contains(version, prereleases=True):
            text = f"{client} is {version}; callboard is tested with {first} and later"
            yield warning(
                "client-untested", text, pip_install(f"{client}>={first}"), client=client, versions={client: version}
            )
