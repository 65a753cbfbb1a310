"""Makes the page docs/benchmarks.md of the stored results."""

from __future__ import annotations

import re
from statistics import median
from typing import TYPE_CHECKING

from .figures import BY_NAME, FIGURES, Figure
from .growth import GROWTHS, MEMORY, Growth, Measure
from .kernels import ECHO, NAMES, OURS
from .limits import MEANINGS
from .processor import MEANINGS as PROCESSOR
from .reasons import REASONS
from .results import percentile
from .text import number, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .results import Results, Verdict

#: What the table of the limits says of the bare echo.
ECHO_LIMITS = (("info_shell_us", "kernel_info on shell"), ("exec_us", "a cell"), ("comm_rtt_us", "a comm message"))

#: Where the plots are, beside the page.
IMAGES = "images/benchmarks"

HOW = """\
## How it is measured

`./scripts/bench` builds callboard into `.venv` as `scripts/run` does, installs the others from PyPI into environments
of their own below `target/bench` (the versions are pinned in `benches/comparison/environments.py`), runs everything
and writes this page. `./scripts/bench --help` has the options: sections can be run one by one.

- The client connects before the kernel listens and tries again every 5 ms (libzmq's default is 100 ms). It asks for
  kernel_info once, and anew every 100 ms until the reply is there.
- Every workload runs on every kernel in turn, round after round (A B C D A B C D), so that a machine whose speed drifts
  does so for all. One kernel process serves all workloads of its round; start-up has processes of its own.
- The client is pyzmq, json and hmac on one thread and nothing else, over TCP on the same machine. It is part of every
  figure, and the same for all.
- What comes back is checked: nothing lost, in the right order, replies that say ok. Otherwise the row says *fails*,
  with a note; a kernel that failed once in a row has no value in it, whatever the other rounds gave.
- The value of a round is the median of its samples; the table shows the median of the rounds. p99, in brackets, is the
  nearest-rank 99th percentile of all samples of all rounds, the 1st percentile where more is better. **With fewer than
  100 samples it is the worst one.**
- *Best* is the best median among the other kernels that did not fail. The ratio is callboard's median divided by it.
- The *bare echo* (`benches/bare_echo.rs`) is no kernel: it sends each request back through the same kinds of sockets,
  unread and unsigned, on one thread. It says what libzmq, the system and the client take; it is no peer.
- All kernels run with their own kernelspec and default settings, and with an empty profile. The xeus-python kernel is
  `xpython`, the one with IPython.
- Absolute figures belong to this machine. Ratios carry over, roughly.
"""


class Notes:
    """Footnotes; the same text has the same number."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def mark(self, text: str) -> str:
        """The mark of a note with this text."""
        # What kernels say may name files of this machine.
        text = re.sub(r"(/[\w.@+-]+){2,}/?", "…", text)
        if text not in self._texts:
            self._texts.append(text)
        return f"[^{self._texts.index(text) + 1}]"

    def lines(self) -> list[str]:
        return [f"[^{number}]: {text}." for number, text in enumerate(self._texts, 1)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table of Markdown; the first column is text, the others are numbers."""
    marks = ["---"] + ["--:"] * (len(head) - 1)
    return [f"| {' | '.join(row)} |" for row in (head, marks, *rows)]


def _goal(figure: Figure, verdict: Verdict) -> str:
    goal = verdict.goal
    bound = f"{goal.bound:g}"
    sign = "≥" if goal.of == "best" and figure.better == "higher" else "≤"
    text = {
        "best": f"{sign} {bound} times best",
        "echo": f"{sign} {bound} times echo ({verdict.value:.2f})",
        "median": f"{sign} {bound} {figure.unit}",
        "p99": f"p99 {sign} {bound} {figure.unit}",
    }[goal.of]
    return text.replace(" (nan)", "") + {True: " ✓", False: " ✗", None: ""}[verdict.met]


def _title(name: str) -> str:
    return "bare echo" if name == ECHO else name


def _row(results: Results, figure: Figure, names: Sequence[str], notes: Notes) -> list[str]:
    row = [f"{figure.title}, {figure.unit}"]
    best = results.best_peer(figure)
    for name in names:
        cell = results.cell(figure, name)
        if cell is None:
            row.append("")
        elif cell.failed:
            row.append(f"fails{notes.mark(f'{_title(name)}: {cell.failure}')}")
        else:
            value = f"{number(cell.median)} ({number(cell.p99)})"
            row.append(f"**{value}**" if best and name == best[0] else value)
    ratio = results.ratio(figure)
    mixed = notes.mark("Not all kernels of this row were measured in the same run") if results.mixed(figure) else ""
    row.append(f"{number(ratio)}{mixed}" if ratio else mixed)
    row.append("<br>".join(_goal(figure, verdict) for verdict in results.verdicts(figure)))
    return row


def _measured(results: Results) -> list[Figure]:
    return [figure for figure in FIGURES if results.cells(figure)]


def _summary(results: Results, figures: Sequence[Figure]) -> list[str]:
    compared = [(figure, ratio) for figure in figures if (ratio := results.ratio(figure))]
    ahead = [figure for figure, ratio in compared if (ratio < 1) == (figure.better == "lower") and ratio != 1]
    verdicts = [(figure, verdict) for figure in figures for verdict in results.verdicts(figure)]
    judged = [(figure, verdict) for figure, verdict in verdicts if verdict.met is not None]
    missed = [figure.title for figure, verdict in judged if not verdict.met]
    text = f"callboard is ahead of the best of the other kernels in {len(ahead)} of {len(compared)} rows"
    text += f", and meets {len(judged) - len(missed)} of its {len(judged)} goals."
    behind = [figure.title for figure, _ in compared if figure not in ahead]
    if behind:
        text += f" Not ahead: {'; '.join(behind)}."
    if missed:
        text += f" Goals not met: {'; '.join(dict.fromkeys(missed))}."
    lost = [figure.title for figure in figures if (cell := results.cell(figure, OURS)) and cell.failed]
    if lost:
        text += f" callboard fails: {'; '.join(lost)}."
    return [text] if compared else ["No row has callboard and another kernel in it yet."]


def _missed(results: Results, figures: Sequence[Figure]) -> list[str]:
    rows = [figure for figure in figures if any(verdict.met is False for verdict in results.verdicts(figure))]
    return [f"- **{figure.title}**: {REASONS.get(figure.name, 'not looked into yet.')}" for figure in rows]


def _machine(results: Results) -> list[str]:
    machine = results.data["machine"]
    if not machine:
        return []
    lines = [
        f"Measured on {machine['cores']} cores of {machine['model']}, {machine['memory']}, {machine['system']}.",
        "",
    ]
    for name in NAMES:
        if versions := results.data["versions"].get(name):
            parts = [f"{package} {version}" for package, version in versions.items() if package != name]
            lines.append(f"- **{name} {versions.get(name, '')}**: {', '.join(parts)}")
    return lines


def _growth_table(results: Results, growth: Growth, measure: Measure, notes: Notes) -> list[str]:
    names = [name for name in NAMES if name in results.data["growth"].get(growth.name, {})]
    curves = {name: results.curve(growth.name, name, measure.name) for name in names}
    broken = {name: results.broken(growth.name, name) for name in names}
    steps = sorted({step for name in names for step in (*curves[name], *broken[name])})

    def value(name: str, step: int) -> str:
        if step in broken[name]:
            return f"fails{notes.mark(f'{name}, {growth.title.lower()}: {broken[name][step]}')}"
        return number(curves[name][step]) if step in curves[name] else ""

    label = size if growth.axis == "bytes" else "{:,}".format
    rows = [[label(step), *(value(name, step) for name in names)] for step in steps]
    return table([f"{growth.axis} → {measure.title.lower()}, {measure.unit}", *names], rows)


def render(results: Results, plots: Iterable[tuple[str, str]] = ()) -> str:
    """The page. `plots` are the files of the plots, as the page names them, with what they show."""
    notes, figures = Notes(), _measured(results)
    lines = ["# How fast: callboard and the other kernels for Python", ""]
    lines += ["<!-- Written by ./scripts/bench; to change the text, change benches/comparison/report.py. -->", ""]
    lines += [*_summary(results, figures), ""]
    for file, title in plots:
        lines += [f"![{title}]({file})", ""]
    if figures:
        rounds = sorted({results.rounds(figure) for figure in figures} - {0})
        count = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}" if rounds else "no"
        plural = "round" if count == "1" else "rounds"
        names = [name for name in NAMES if any(results.cell(figure, name) for figure in figures)]
        lines += ["## The table", ""]
        lines += [f"Median (p99) of {count} {plural}. **Bold**: the best of the other kernels.", ""]
        head = ["", *(_title(name) for name in names), "callboard / best", "goal"]
        lines += [*table(head, [_row(results, figure, names, notes) for figure in figures]), ""]
    if results.data["limits"]:
        lines += ["## The limits", ""]
        limits = results.data["limits"].items()
        meanings = MEANINGS | PROCESSOR
        rows = [[meanings[name], number(median(s)), number(percentile(s, 0.99))] for name, s in limits]
        for name, title in ECHO_LIMITS:
            if (cell := results.cell(BY_NAME[name], ECHO)) and not cell.failed:
                rows.append([f"bare echo, round trip of {title}", number(cell.median), number(cell.p99)])
        lines += ["What the sockets, Python and IPython take by themselves, and where the time of a cell goes.", ""]
        lines += [*table(["", "median, µs", "p99, µs"], rows), ""]
    if missed := _missed(results, figures):
        lines += ["## Goals that are not met, and why", "", *missed, ""]
    grown = [growth for growth in (*GROWTHS, MEMORY) if results.data["growth"].get(growth.name)]
    if grown:
        lines += ["## Growth with work", ""]
    for growth in grown:
        lines += [f"### {growth.title}", "", growth.meaning, ""]
        for measure in growth.measures:
            lines += [*_growth_table(results, growth, measure, notes), ""]
    lines += [HOW]
    lines += [*_machine(results), ""]
    if figures:
        lines += ["## What the rows mean", ""]
        lines += [f"- **{figure.title}**: {figure.meaning}" for figure in figures]
        lines += [""]
    lines += notes.lines()
    return "\n".join(lines).rstrip() + "\n"


def write(results: Results, page: Path) -> None:
    """Draws the plots and writes the page."""
    from . import plots  # matplotlib takes its time

    folder = page.parent / IMAGES
    drawn = []
    if plots.ratios(results, folder / "ratios.svg"):
        drawn.append((f"{IMAGES}/ratios.svg", "callboard beside the best other kernel, row by row"))
    for growth in (*GROWTHS, MEMORY):
        for measure in growth.measures:
            file = f"{growth.name}-{measure.name.replace('_', '-')}.svg"
            if plots.growth(results, folder / file, growth.name, measure.name):
                drawn.append((f"{IMAGES}/{file}", f"{growth.title}: {measure.title.lower()}"))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render(results, drawn))
