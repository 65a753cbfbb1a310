"""Results: kept in a file, section by section, and the statistics made of them."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from .kernels import ECHO, OURS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .figures import Better, Figure, Goal


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest sample that at least this share of them (0 to 1) does not exceed."""
    ordered = sorted(samples)
    return ordered[max(1, math.ceil(round(share * len(ordered), 9))) - 1]


def p99(samples: Sequence[float], better: Better) -> float:
    """The bad end of the samples: the 99th percentile, or the 1st where higher is better. With fewer
    than 100 samples it is the worst one."""
    return percentile(samples, 0.99) if better == "lower" else percentile(samples, 0.01)


@dataclass(frozen=True)
class Cell:
    """A cell of the table: one kernel's value in one row."""

    median: float
    p99: float
    #: Why it has no value; the other fields are nan then.
    failure: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.failure)


@dataclass(frozen=True)
class Verdict:
    """Whether a goal is met; None if it cannot be said."""

    goal: Goal
    value: float
    met: bool | None


class Results:
    """The samples of all sections; `save` writes them to the file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        #: What this run has replaced already; further samples are added to it.
        self._fresh: set[tuple[str, ...]] = set()
        self.data: dict[str, Any] = {"runs": 0, "machine": {}, "versions": {}, "rounds": {}, "limits": {}, "growth": {}}
        if file.is_file():
            self.data |= json.loads(file.read_text())
        self.data["runs"] += 1

    def save(self) -> None:
        """Replaces the file atomically."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self.data))
        os.replace(part, self._file)

    # -- what is measured

    def _entry(self, figure: str, kernel: str) -> dict[str, Any]:
        of_figure = self.data["rounds"].setdefault(figure, {})
        if (figure, kernel) not in self._fresh:
            self._fresh.add((figure, kernel))
            of_figure[kernel] = {"run": self.data["runs"], "rounds": [], "failure": ""}
        return of_figure[kernel]

    def add_round(self, figure: str, kernel: str, samples: list[float]) -> None:
        """The samples of one round. The first ones in a run replace those of earlier runs."""
        self._entry(figure, kernel)["rounds"].append(samples)

    def add_failure(self, figure: str, kernel: str, reason: str) -> None:
        """The kernel failed: it has no value in this row, also if other rounds gave one."""
        self._entry(figure, kernel)["failure"] = reason

    def has_failed(self, figure: str, kernel: str) -> bool:
        """Whether it failed in this run."""
        return (figure, kernel) in self._fresh and bool(self._entry(figure, kernel)["failure"])

    def set_limit(self, name: str, samples: list[float]) -> None:
        self.data["limits"][name] = samples

    def _curve(self, section: str, kernel: str) -> dict[str, Any]:
        of_section = self.data["growth"].setdefault(section, {})
        if (section, kernel, "growth") not in self._fresh:
            self._fresh.add((section, kernel, "growth"))
            of_section[kernel] = {"points": {}, "failures": {}}
        return of_section[kernel]

    def add_point(self, section: str, kernel: str, step: int, point: dict[str, float]) -> None:
        """One more measurement of a point of a curve."""
        self._curve(section, kernel)["points"].setdefault(str(step), []).append(point)

    def add_broken(self, section: str, kernel: str, step: int, reason: str) -> None:
        """The kernel failed at this point."""
        self._curve(section, kernel)["failures"][str(step)] = reason

    def is_broken(self, section: str, kernel: str) -> bool:
        """Whether the kernel failed at a point of this curve."""
        return bool(self._curve(section, kernel)["failures"])

    # -- what is made of it

    def cell(self, figure: Figure, kernel: str) -> Cell | None:
        """The cell of the table; None if it was not measured."""
        entry = self.data["rounds"].get(figure.name, {}).get(kernel)
        if entry is None or not (entry["rounds"] or entry["failure"]):
            return None
        if entry["failure"]:
            return Cell(math.nan, math.nan, entry["failure"])
        every = [sample for samples in entry["rounds"] for sample in samples]
        return Cell(median(median(samples) for samples in entry["rounds"]), p99(every, figure.better))

    def cells(self, figure: Figure) -> dict[str, Cell]:
        """The cells of a row, by kernel."""
        found = {name: self.cell(figure, name) for name in self.data["rounds"].get(figure.name, {})}
        return {name: cell for name, cell in found.items() if cell is not None}

    def best_peer(self, figure: Figure) -> tuple[str, Cell] | None:
        """The best of the peers that did not fail, by their medians."""
        peers = {n: c for n, c in self.cells(figure).items() if n not in (OURS, ECHO) and not c.failed}
        if not peers:
            return None
        choose = min if figure.better == "lower" else max
        name = choose(peers, key=lambda one: peers[one].median)
        return name, peers[name]

    def ratio(self, figure: Figure) -> float | None:
        """callboard's median divided by the best peer's."""
        ours, best = self.cell(figure, OURS), self.best_peer(figure)
        if ours is None or ours.failed or best is None or not best[1].median:
            return None
        return ours.median / best[1].median

    def verdicts(self, figure: Figure) -> list[Verdict]:
        """Which goals of a row are met."""
        return [self._verdict(figure, goal) for goal in figure.goals]

    def _verdict(self, figure: Figure, goal: Goal) -> Verdict:
        ours, echo = self.cell(figure, OURS), self.cell(figure, ECHO)
        if ours is None:
            return Verdict(goal, math.nan, None)
        if ours.failed:
            return Verdict(goal, math.nan, False)
        value: float | None = None
        if goal.of == "best":
            value = self.ratio(figure)
        elif goal.of == "echo":
            value = ours.median / echo.median if echo is not None and not echo.failed else None
        else:
            value = ours.median if goal.of == "median" else ours.p99
        if value is None:
            return Verdict(goal, math.nan, None)
        reach = goal.of == "best" and figure.better == "higher"
        return Verdict(goal, value, value >= goal.bound if reach else value <= goal.bound)

    def rounds(self, figure: Figure) -> int:
        """The rounds of the kernel that has the most."""
        return max((len(one["rounds"]) for one in self.data["rounds"].get(figure.name, {}).values()), default=0)

    def mixed(self, figure: Figure) -> bool:
        """Whether the kernels of this row were measured in different runs: their ratio means less then."""
        return len({one["run"] for one in self.data["rounds"].get(figure.name, {}).values()}) > 1

    def curve(self, section: str, kernel: str, measure: str) -> dict[int, float]:
        """The medians of the points of a curve."""
        points = self.data["growth"].get(section, {}).get(kernel, {}).get("points", {})
        return {int(step): median(one[measure] for one in points[step]) for step in sorted(points, key=int)}

    def broken(self, section: str, kernel: str) -> dict[int, str]:
        """The point at which a curve ends, and the reason."""
        failures = self.data["growth"].get(section, {}).get(kernel, {}).get("failures", {})
        return {int(step): reason for step, reason in failures.items()}
