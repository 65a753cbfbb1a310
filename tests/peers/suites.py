"""The suites of other projects, and the named differences: what `suites.toml` and `differences.toml` say."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Suite:
    """The tests of one release of a project."""

    name: str
    version: str
    #: SHA-256 of the sdist.
    sha256: str
    #: What pytest gets, relative to the unpacked sdist.
    tests: tuple[str, ...]
    #: Which of the project's tests are run, and why not the others.
    rule: str
    #: What the tests import beside the project.
    needs: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def sdist(self) -> str:
        """The name of the sdist's file."""
        return f"{self.name}-{self.version}.tar.gz"

    def folder(self, place: Path) -> Path:
        """Where the sdist is unpacked."""
        return place / "sources" / f"{self.name}-{self.version}"


@dataclass(frozen=True)
class Difference:
    """A test that fails on callboard by design."""

    suite: str
    #: pytest's id of the test.
    test: str
    #: What is different, in one sentence.
    reason: str
    #: Of the section in docs/compatibility.md.
    anchor: str
    #: It depends on timing: the test may pass as well.
    sometimes: bool = False


def read_suites(file: Path = HERE / "suites.toml") -> tuple[dict[str, Suite], list[str]]:
    """The suites by name, and the packages that all of them need."""
    table = tomllib.loads(file.read_text())
    common = table.pop("common")["needs"]
    suites = {
        name: Suite(name, **{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()})
        for name, entry in table.items()
    }
    return suites, common


def read_differences(file: Path = HERE / "differences.toml") -> list[Difference]:
    """The differences, as written."""
    return [Difference(**entry) for entry in tomllib.loads(file.read_text()).get("difference", [])]
