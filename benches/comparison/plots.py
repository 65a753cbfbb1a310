"""The plots of the page, as SVG. The same results give the same files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .figures import FIGURES, Figure
from .growth import GROWTHS, MEMORY
from .kernels import ECHO, NAMES, OURS
from .text import size

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure as Plot

    from .results import Results

COLORS = {"callboard": "#a4243b", "ipykernel": "#e08e0b", "async-kernel": "#306998", "xeus-python": "#5b8c5a"}

#: Bars: with a goal that is met, that is not, and without one.
MET, NOT_MET, FREE = "#3b7a57", "#c0504d", "#8a94a0"

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "callboard",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e3e6ea",
    }
)


def _save(plot: Plot, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Without the date, so that the file changes only when what it shows does.
    plot.savefig(file, format="svg", facecolor="white", bbox_inches="tight", metadata={"Date": None})
    plt.close(plot)
    # Trailing spaces are matplotlib's.
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")


def _as_cost(figure: Figure, ratio: float) -> float:
    """A ratio so that less is better in every row."""
    return ratio if figure.better == "lower" else 1 / ratio


def ratios(results: Results, file: Path) -> bool:
    """callboard beside the best peer in each row, as bars; False if there is no such row."""
    rows = [(figure, ratio) for figure in FIGURES if (ratio := results.ratio(figure))]
    if not rows:
        return False
    plot, axes = plt.subplots(figsize=(9, 0.32 * len(rows) + 1.2))
    for place, (figure, ratio) in enumerate(rows):
        verdict = next((one for one in results.verdicts(figure) if one.goal.of == "best"), None)
        color = FREE if verdict is None else MET if verdict.met else NOT_MET
        share = _as_cost(figure, ratio)
        axes.barh(place, share - 1, left=1, color=color, height=0.65)
        # To the right of the plot, where no bar and no goal is.
        axes.text(1.01, place, f"{share:.2g}", transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        if verdict is not None:
            goal = _as_cost(figure, verdict.goal.bound)
            axes.plot([goal, goal], [place - 0.42, place + 0.42], color="black", linewidth=2)
    shares = [_as_cost(figure, ratio) for figure, ratio in rows]
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, *shares) / 2, max(1.5, *shares) * 1.6)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(rows)), [figure.title.replace("`", "") for figure, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("what callboard takes, where the best other kernel takes 1: less is better")
    handles = [Patch(color=MET), Patch(color=NOT_MET), Patch(color=FREE), Line2D([], [], color="black", linewidth=2)]
    labels = ["goal is met", "goal is not met", "no goal for the ratio", "goal"]
    axes.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=4, frameon=False, fontsize=8)
    axes.grid(axis="y", visible=False)
    _save(plot, file)
    return True


def growth(results: Results, file: Path, section: str, measure: str) -> bool:
    """The curves of one kind of work; False if there are none."""
    what = next(one for one in (*GROWTHS, MEMORY) if one.name == section)
    shown = next(one for one in what.measures if one.name == measure)
    plot, axes = plt.subplots(figsize=(6.4, 3.6))
    drawn = False
    for name in NAMES:
        curve, broken = results.curve(section, name, measure), results.broken(section, name)
        whole = {step: value for step, value in curve.items() if step not in broken}
        if name == ECHO or not (whole or broken):
            continue
        drawn = True
        label = f"{name} (fails at {min(broken):,})" if broken else name
        axes.plot(
            list(whole),
            list(whole.values()),
            marker="o",
            markersize=4,
            linewidth=2.2 if name == OURS else 1.5,
            color=COLORS[name],
            label=label,
        )
    if drawn:
        if section != MEMORY.name:  # which begins with no cells
            axes.set_xscale("log")
            label = size if what.axis == "bytes" else "{:,}".format
            axes.set_xticks(what.steps, [label(step) for step in what.steps])
            axes.xaxis.minorticks_off()
        if section != MEMORY.name and measure != "mb_each":
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(what.axis)
        axes.set_ylabel(f"{shown.title.lower()}, {shown.unit}")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        axes.set_title(what.title, loc="left", fontsize=11)
        _save(plot, file)
    plt.close(plot)
    return drawn
