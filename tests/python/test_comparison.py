"""`scripts/bench`: errors that would go unnoticed, and a short run of it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support import REPOSITORY, TIMEOUT, write_kernelspec

sys.path.insert(0, str(REPOSITORY / "benches"))

from comparison import client, growth, measure, report, workloads
from comparison.client import KernelError
from comparison.figures import BY_NAME, FIGURES, Figure, Goal
from comparison.kernels import ECHO, Spec, from_folder
from comparison.reasons import REASONS
from comparison.results import Results, p99, percentile
from comparison.workloads import WORKLOADS, check_order, check_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LESS = Figure("less", "work", "Less", "ms", "lower", "", (Goal("best", 0.5), Goal("echo", 1.5), Goal("p99", 2.0)))
MORE = Figure("more", "work", "More", "MB/s", "higher", "", (Goal("best", 2.5),))


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results.json")


def comparison(*options: str) -> subprocess.CompletedProcess[str]:
    """The command behind `scripts/bench`."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY / "benches"), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, "-m", "comparison", *options],
        env=env,
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
        check=False,
    )


# -- numbers


def test_percentiles_are_of_the_nearest_rank() -> None:
    hundred = [float(n) for n in range(100, 0, -1)]
    assert percentile(hundred, 0.99) == 99
    assert percentile(hundred, 0.01) == 1
    assert percentile([float(n) for n in range(1, 1001)], 0.99) == 990
    assert percentile([7.0], 0.99) == 7


def test_p99_is_the_bad_end_and_the_worst_of_a_few() -> None:
    hundreds = [float(n) for n in range(1, 301)]
    assert p99(hundreds, "lower") == 297
    assert p99(hundreds, "higher") == 3
    assert p99([3.0, 1.0, 2.0], "lower") == 3
    assert p99([3.0, 1.0, 2.0], "higher") == 1


def test_a_figure_is_the_median_of_the_rounds_and_not_of_all_samples(results: Results) -> None:
    results.add_round("less", "callboard", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    results.add_round("less", "callboard", [5.0])
    results.add_round("less", "callboard", [4.0, 6.0])
    cell = results.cell(LESS, "callboard")
    assert cell is not None
    assert (cell.median, cell.p99) == (5.0, 6.0)


def test_the_best_peer_depends_on_the_direction_and_is_never_the_echo(results: Results) -> None:
    for name, value in {"callboard": 2.0, "ipykernel": 8.0, "async-kernel": 5.0, ECHO: 1.0}.items():
        results.add_round("less", name, [value])
        results.add_round("more", name, [value])
    assert results.best_peer(LESS) == ("async-kernel", results.cell(LESS, "async-kernel"))
    assert results.best_peer(MORE) == ("ipykernel", results.cell(MORE, "ipykernel"))
    assert results.ratio(LESS) == pytest.approx(0.4)
    assert results.ratio(MORE) == pytest.approx(0.25)
    assert [verdict.met for verdict in results.verdicts(LESS)] == [True, False, True]
    assert [verdict.met for verdict in results.verdicts(MORE)] == [False]


def test_more_than_the_goal_is_met_where_more_is_better(results: Results) -> None:
    results.add_round("more", "callboard", [30.0])
    results.add_round("more", "ipykernel", [10.0])
    (verdict,) = results.verdicts(MORE)
    assert (verdict.value, verdict.met) == (pytest.approx(3.0), True)


def test_a_kernel_that_failed_once_has_no_value_and_is_no_peer(results: Results) -> None:
    results.add_round("less", "callboard", [2.0])
    results.add_round("less", "xeus-python", [1.0])
    results.add_failure("less", "xeus-python", "output lost")
    results.add_round("less", "ipykernel", [4.0])
    cell = results.cell(LESS, "xeus-python")
    assert cell is not None
    assert cell.failure == "output lost"
    assert math.isnan(cell.median)
    assert results.ratio(LESS) == pytest.approx(0.5)


def test_goals_are_not_met_by_failing_and_not_judged_without_a_peer(results: Results) -> None:
    results.add_round("less", "callboard", [1.0])
    assert [verdict.met for verdict in results.verdicts(LESS)] == [None, None, True]
    results.add_failure("less", "callboard", "no reply")
    assert [verdict.met for verdict in results.verdicts(LESS)] == [False, False, False]


def test_reasons_are_given_for_figures_that_have_goals() -> None:
    assert set(REASONS) <= {figure.name for figure in FIGURES if figure.goals}


def test_each_figure_has_a_workload_and_each_workload_a_figure() -> None:
    assert {figure.workload for figure in FIGURES} == set(WORKLOADS)
    assert len(BY_NAME) == len(FIGURES)


# -- what is kept


def test_a_section_that_is_run_again_replaces_only_itself(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    first = Results(file)
    first.add_round("less", "callboard", [1.0])
    first.add_round("less", "callboard", [1.0])
    first.add_round("less", "ipykernel", [2.0])
    first.add_round("more", "callboard", [3.0])
    first.add_failure("more", "ipykernel", "no reply")
    first.add_point("cells", "callboard", 10, {"seconds": 1.0})
    first.add_broken("cells", "ipykernel", 10, "no reply")
    first.save()

    second = Results(file)
    second.add_round("less", "callboard", [7.0])
    second.add_round("more", "ipykernel", [9.0])
    second.add_point("cells", "ipykernel", 10, {"seconds": 5.0})
    second.save()

    merged = Results(file)
    assert merged.data["rounds"]["less"]["callboard"]["rounds"] == [[7.0]]
    assert merged.data["rounds"]["less"]["ipykernel"]["rounds"] == [[2.0]]
    assert merged.data["rounds"]["more"]["callboard"]["rounds"] == [[3.0]]
    assert merged.cell(MORE, "ipykernel") == merged.cells(MORE)["ipykernel"]
    assert not merged.cells(MORE)["ipykernel"].failed
    assert merged.curve("cells", "callboard", "seconds") == {10: 1.0}
    assert merged.curve("cells", "ipykernel", "seconds") == {10: 5.0}
    assert merged.broken("cells", "ipykernel") == {}
    assert merged.mixed(LESS)


# -- what comes back


def _stream(text: str) -> dict[str, Any]:
    return {"type": "stream", "content": {"text": text}}


def test_a_lost_line_is_noticed() -> None:
    check_text([_stream("1\n2\n"), _stream("3\n")], "1\n2\n3\n")
    with pytest.raises(KernelError, match="output lost: 2 of 3 lines"):
        check_text([_stream("1\n"), _stream("3\n")], "1\n2\n3\n")


def test_lines_in_the_wrong_order_are_noticed() -> None:
    with pytest.raises(KernelError, match="wrong order"):
        check_text([_stream("1\n"), _stream("3\n"), _stream("2\n")], "1\n2\n3\n")


class Echo:
    """Stands in for a kernel whose comm sends back what `order` makes of it."""

    spec = Spec("ipykernel", [])

    def __init__(self, order: Callable[[list[int]], list[int]]) -> None:
        self._order = order
        self._sent: list[int] = []
        self._back: list[int] = []

    def execute(self, _code: str) -> str:
        return "cell"

    def reply(self, _channel: str, _msg_id: str) -> dict[str, Any]:
        return {"type": "execute_reply", "content": {"status": "ok"}}

    def prepare(self, _msg_type: str, content: dict[str, Any], buffers: object = ()) -> tuple[str, list[Any]]:
        return "id", [content["data"]["i"]]

    def dispatch(self, _channel: str, frames: list[Any]) -> None:
        self._sent += frames

    def until(self, msg_type: str, timeout: float) -> dict[str, Any]:
        if msg_type == "comm_open":
            return {"content": {"comm_id": "comm"}}
        if self._sent:
            self._back, self._sent = self._order(self._sent), []
        if not self._back:
            raise KernelError(f"no comm_msg in {timeout:g} s")
        return {"content": {"data": {"i": self._back.pop(0)}}}


def test_lost_and_reordered_comm_messages_are_noticed() -> None:
    assert workloads.comm_pipelined(Echo(list))["comm_per_s"][0] > 0
    with pytest.raises(KernelError, match="comm messages in the wrong order"):
        workloads.comm_pipelined(Echo(lambda sent: [sent[1], sent[0], *sent[2:]]))
    with pytest.raises(KernelError, match="no comm_msg"):
        workloads.comm_pipelined(Echo(lambda sent: sent[:-1]))
    with pytest.raises(KernelError, match="replies lost: 1 of 2"):
        check_order(["a"], ["a", "b"], "replies")


# -- kernels that fail


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import time; time.sleep(600)", "no kernel_info_reply in 1 s"),
        ("raise SystemExit(7)", "ended with exit code 7"),
    ],
)
def test_a_kernel_that_never_answers_is_a_failure_in_each_row_and_is_killed(
    code: str, reason: str, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "START", 1.0)
    pid = tmp_path / "pid"
    note = f"import os, pathlib; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); {code}"
    spec = Spec("ipykernel", [sys.executable, "-c", note])
    measure.rounds(results, [spec], ["info_rtt", "exec_rtt"], 3)
    for name in ("info_shell_us", "info_control_us", "exec_us"):
        cell = results.cell(BY_NAME[name], "ipykernel")
        assert cell is not None
        assert reason in cell.failure
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_curve_ends_where_the_kernel_fails(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "START", 0.5)
    spec = Spec("ipykernel", [sys.executable, "-c", "raise SystemExit(7)"])
    measure.of_growth(results, [spec], growth.GROWTHS[0])
    assert list(results.broken("cells", "ipykernel")) == [1]
    assert "fails[^1]" in report.render(results)


# -- the page


def test_the_page_is_made_of_what_is_kept(results: Results, tmp_path: Path) -> None:
    for name, value in {"callboard": 200.0, "ipykernel": 1000.0, ECHO: 160.0}.items():
        results.add_round("info_shell_us", name, [value])
    results.add_failure("info_shell_us", "xeus-python", "FileNotFoundError: /home/somebody/file is not there")
    for name, value in {"callboard": 900.0, "ipykernel": 1000.0}.items():
        results.add_round("exec_us", name, [value])
    results.add_point("cells", "callboard", 10, {"seconds": 0.5})
    results.add_point("cells", "callboard", 100, {"seconds": 1.5})
    results.save()

    page = tmp_path / "docs" / "benchmarks.md"
    done = comparison("--report-only", "--json", str(tmp_path / "results.json"), "--page", str(page))
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| kernel_info round trip, shell")]
    assert "**1,000 (1,000)**" in row
    assert "| 0.2 |" in row
    assert "≤ 0.9 times best ✓<br>≤ 1.5 times echo (1.25) ✓" in row
    assert "fails[^1]" in row
    assert "[^1]: xeus-python: FileNotFoundError: … is not there." in text
    assert "somebody" not in text
    missed = text.partition("## Goals that are not met, and why\n")[2].partition("\n## ")[0].strip().splitlines()
    assert missed == [f"- **Round trip of a cell `pass`**: {REASONS['exec_us']}"]
    assert "| 100 | 1.5 |" in text
    plots = sorted(path.name for path in (page.parent / report.IMAGES).iterdir())
    assert plots == ["cells-seconds.svg", "ratios.svg"]
    for plot in plots:
        assert f"({report.IMAGES}/{plot})" in text

    before = {path: path.read_bytes() for path in (page.parent / report.IMAGES).iterdir()}
    comparison("--report-only", "--json", str(tmp_path / "results.json"), "--page", str(page))
    assert page.read_text() == text
    assert before == {path: path.read_bytes() for path in before}


def test_there_is_nothing_to_report_yet(tmp_path: Path) -> None:
    done = comparison("--report-only", "--json", str(tmp_path / "results.json"), "--page", str(tmp_path / "page.md"))
    assert done.returncode == 2
    assert "run scripts/bench first" in done.stderr
    assert not (tmp_path / "page.md").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--sections", "everything"],
        ["--only", "speed"],
        ["--kernels", "emacs"],
        ["--rounds", "0"],
        ["--spec", "callboard"],
        ["--only", "idle", "--sections", "cells"],
    ],
)
def test_wrong_usage_is_told(options: list[str]) -> None:
    done = comparison(*options)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert options[0].lstrip("-") in done.stderr


# -- a run


def test_a_short_run_measures_callboard(tmp_path: Path) -> None:
    write_kernelspec(tmp_path, "module")
    folder = tmp_path / "kernels" / "callboard"
    spec = json.loads((folder / "kernel.json").read_text())
    # The package that is tested, wherever it is.
    spec["env"] = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    (folder / "kernel.json").write_text(json.dumps(spec))
    kept, page = tmp_path / "results.json", tmp_path / "benchmarks.md"
    done = comparison(
        *("--only", "info_rtt", "--rounds", "1", "--kernels", "callboard", "--spec", f"callboard={folder}"),
        *("--json", str(kept), "--page", str(page)),
    )
    assert done.returncode == 0, done.stderr
    (samples,) = json.loads(kept.read_text())["rounds"]["info_control_us"]["callboard"]["rounds"]
    assert len(samples) == 300
    assert min(samples) > 0
    assert "kernel_info round trip, control" in page.read_text()


def test_a_kernelspec_is_started_with_the_python_of_its_environment(tmp_path: Path) -> None:
    folder = tmp_path / "share" / "jupyter" / "kernels" / "xpython"
    folder.mkdir(parents=True)
    argv = ["python3.11", "-m", "xpython_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv}))
    own = tmp_path / "bin" / "python"
    own.parent.mkdir()
    own.touch()
    spec = from_folder("xeus-python", folder)
    assert spec.command("file.json") == [str(own), "-m", "xpython_launcher", "-f", "file.json"]
    assert spec.interrupt_mode == "signal"
