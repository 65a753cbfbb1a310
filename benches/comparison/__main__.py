"""The command behind `scripts/bench`, which makes the environments first and has the help."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import sys
from pathlib import Path

from .figures import FIGURES
from .growth import GROWTHS
from .kernels import ECHO, NAMES, REPOSITORY, Spec, find
from .results import Results

#: The sections, in the order in which they run.
SECTIONS = ("rounds", "limits", *(growth.name for growth in GROWTHS), "memory")

WORKLOADS = tuple(dict.fromkeys(figure.workload for figure in FIGURES))


def _names(known: tuple[str, ...], what: str):
    def convert(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {what} {name!r}; there are {', '.join(known)}")
        return [name for name in known if name in names]

    return convert


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _spec(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or name not in NAMES or not (Path(folder) / "kernel.json").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a kernel, =, and the folder of its kernel.json")
    return name, Path(folder)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", add_help=False)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "target" / "bench")
    parser.add_argument("--sections", type=_names(SECTIONS, "section"))
    parser.add_argument("--only", type=_names(WORKLOADS, "workload"))
    parser.add_argument("--kernels", type=_names(NAMES, "kernel"), default=list(NAMES))
    parser.add_argument("--rounds", type=_count, default=5)
    parser.add_argument("--memory-cells", type=_count, default=100_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs" / "benchmarks.md")
    parser.add_argument("--spec", type=_spec, action="append", default=[])
    parser.add_argument("--report-only", action="store_true")
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only and options.sections not in (None, ["rounds"]):
        parser.error("--only is about the section rounds: leave --sections out")
    options.sections = ["rounds"] if options.only else options.sections or list(SECTIONS)
    options.json = options.json or options.folder / "results.json"
    return options


def machine() -> dict[str, str]:
    """The hardware and system of this run, without names of the machine."""
    model, memory = platform.processor() or platform.machine(), ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    with contextlib.suppress(OSError, ValueError):
        memory = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB"
    system = f"{platform.system()} {platform.release()}"
    return {"cores": str(os.cpu_count()), "model": model, "memory": memory, "system": system}


def _stop(_signum: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _measure(options: argparse.Namespace, results: Results, specs: list[Spec]) -> None:
    from . import measure

    results.data["machine"] = machine()
    for spec in specs:
        if spec.name != ECHO:
            results.data["versions"][spec.name] = spec.versions()
    growths = {growth.name: growth for growth in GROWTHS}
    for section in options.sections:
        if section == "rounds":
            measure.rounds(results, specs, options.only or WORKLOADS, options.rounds)
        elif section == "limits":
            measure.of_limits(results, specs)
        elif section == "memory":
            measure.of_memory(results, specs, options.memory_cells)
        else:
            measure.of_growth(results, specs, growths[section])


def main(arguments: list[str] | None = None) -> int:
    """Measures what is asked for and writes the page. Gives the exit code."""
    options = _options(arguments)
    if options.check:
        return 0
    if options.report_only:
        if not options.json.is_file():
            print(f"There are no results in {options.json} yet: run scripts/bench first", file=sys.stderr)
            return 2
        results = Results(options.json)
    else:
        # Kernels are killed on the way out. A shell that starts this in the background has SIGINT ignored.
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, _stop)
        try:
            specs = [find(name, options.folder, dict(options.spec)) for name in options.kernels]
        except FileNotFoundError as missing:
            print(f"A kernel is not installed: {missing}. Run scripts/bench, which installs them", file=sys.stderr)
            return 3
        results = Results(options.json)
        _measure(options, results, specs)
        results.save()

    from .report import write

    write(results, options.page)
    print(f"Written: {options.page}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
