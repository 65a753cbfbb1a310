"""Compares what a suite came to on callboard with what it came to on ipykernel, and with the named differences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What a test comes to. `error`: its file could not be imported, or a fixture failed; `lost`: the process ended in it.
PASSED, SKIPPED, FAILED, ERROR, LOST = "passed", "skipped", "failed", "error", "lost"


@dataclass
class Verdict:
    """What the comparison of one suite found. `problems` are what makes `scripts/peers` fail."""

    #: Tests that pass on both.
    passed: list[str] = field(default_factory=list)
    #: Tests that pass on neither: of tools, networks or displays that are not there.
    on_neither: list[str] = field(default_factory=list)
    #: Tests that fail on callboard, and are named.
    named: list[str] = field(default_factory=list)
    #: Tests that fail on callboard only, and are not named.
    unnamed: list[str] = field(default_factory=list)
    #: Tests that are named, and pass, fail on ipykernel as well, or do not exist.
    outdated: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        return [
            *(f"fails on callboard only, and is not named: {test}" for test in self.unnamed),
            *(f"is named as a difference, and is none: {test}" for test in self.outdated),
        ]


def compare(
    callboard: Mapping[str, str], ipykernel: Mapping[str, str], named: Iterable[str], sometimes: Iterable[str] = ()
) -> Verdict:
    """Compares outcomes, by pytest's ids. A test that ipykernel passes must pass, not only be skipped; one that there is
    no outcome for on callboard (its file could not be imported, the run broke off) counts as failed. Those of the named
    that fail only `sometimes` may pass."""
    verdict = Verdict()
    names = set(named)
    for test in sorted({*callboard, *ipykernel}):
        here, there = callboard.get(test, LOST), ipykernel.get(test)
        if here == PASSED:
            verdict.passed.append(test)
        elif there == PASSED or (there is None and here != SKIPPED):
            (verdict.named if test in names else verdict.unnamed).append(test)
        else:
            verdict.on_neither.append(test)
    verdict.outdated = sorted(names - set(verdict.named) - (set(sometimes) & set(verdict.passed)))
    return verdict
