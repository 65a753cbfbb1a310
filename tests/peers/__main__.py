"""Runs the suites on callboard and on ipykernel, and compares. `scripts/peers` prepares what this needs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from .environment import environment, jupyter_path, python_of
from .outcomes import PASSED, SKIPPED, compare
from .suites import Difference, Suite, read_differences, read_suites

HERE = Path(__file__).parent
#: For pytest-timeout, in the place of the suites' own limits: those are short where two processors serve everything,
#: and some end the whole process.
LIMITS = ["--timeout=120", "--timeout-method=signal"]
#: Seconds for a whole suite.
SUITE_TIMEOUT = 3600


class Run:
    """The outcomes of one suite on one kernel, kept in a file with one line for each."""

    def __init__(self, place: Path, suite: Suite, kernel: str) -> None:
        self._place, self._suite, self._kernel = place, suite, kernel
        self._file = place / "outcomes" / kernel / f"{suite.name}-{suite.version}.jsonl"
        self.log = self._file.with_suffix(".log")

    @property
    def is_there(self) -> bool:
        return self._file.is_file()

    def run(self, expected: set[str]) -> None:
        """Runs the suite, and once more what has failed and is not `expected` to: what fails twice is no accident."""
        for file in (self._file, self.log):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
        unfinished = self._file.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        left_out = [f"--ignore={name}" for name in self._suite.left_out]
        self._pytest(unfinished, [*left_out, *self._suite.tests])
        failed = [test for test, outcome in _outcomes(unfinished).items() if outcome not in (PASSED, SKIPPED)]
        if again := [test for test in failed if test not in expected]:
            self._pytest(unfinished, again)
        unfinished.rename(self._file)

    def _pytest(self, file: Path, tests: list[str]) -> None:
        command = [str(python_of(self._place)), str(HERE / "recorder.py"), str(file)]
        options = [
            "-c",
            "pyproject.toml",
            *LIMITS,
            "--continue-on-collection-errors",
            "-p",
            "no:cacheprovider",
            *self._suite.options,
        ]
        with self.log.open("ab") as log:
            try:
                subprocess.run(
                    [*command, *options, *tests],
                    cwd=self._suite.folder(self._place),
                    env=environment(self._place, self._kernel),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    timeout=SUITE_TIMEOUT,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                log.write(f"\nnot done after {SUITE_TIMEOUT} s\n".encode())

    def outcomes(self) -> dict[str, str]:
        """By pytest's ids; without files that were left out since."""
        found = _outcomes(self._file)
        return {test: outcome for test, outcome in found.items() if not test.startswith(self._suite.left_out)}

    def kernels(self) -> Counter[str]:
        """How many kernels of which kind the suite has started, as far as its own process did that."""
        counts: Counter[str] = Counter()
        for line in _lines(self._file):
            if "kernel" in line:
                words = [word for word in line["kernel"] if "ipykernel" in word or word == "callboard"]
                counts["callboard" if "callboard" in words else "ipykernel" if words else "another"] += 1
        return counts


def _lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def _outcomes(file: Path) -> dict[str, str]:
    """The last outcome of each test, and of each file that could not be imported."""
    last = {str(line["test"]): line["outcome"] for line in _lines(file) if "test" in line}
    return {test: str(outcome) for test, outcome in last.items() if outcome}


def check_kernelspec(place: Path, kernel: str) -> str | None:
    """Starts what the suites will start, and says what is wrong if it is another kernel."""
    code = "import sys; print([n for n in ('callboard', 'ipykernel.kernelapp') if n in sys.modules][0])"
    ask = (
        "from jupyter_client.manager import start_new_kernel\n"
        "import sys\n"
        "manager, client = start_new_kernel(kernel_name='python3')\n"
        f"client.execute_interactive({code!r}, timeout=60)\n"
        "client.stop_channels(); manager.shutdown_kernel()\n"
    )
    run = [str(python_of(place)), "-c", ask]
    done = subprocess.run(run, env=environment(place, kernel), capture_output=True, text=True, check=False)
    wanted = "callboard" if kernel == "callboard" else "ipykernel.kernelapp"
    if done.stdout.strip() == wanted:
        return None
    return f"python3 in {jupyter_path(place, kernel)} does not start {kernel}:\n{done.stdout}{done.stderr}"


def report(suite: Suite, here: Run, reference: Run, differences: list[Difference], seconds: float) -> list[str]:
    """Prints what a suite came to on callboard. Returns what is wrong."""
    named = {difference.test: difference for difference in differences if difference.suite == suite.name}
    sometimes = {test for test, difference in named.items() if difference.sometimes}
    verdict = compare(here.outcomes(), reference.outcomes(), named, sometimes)
    kernels = ", ".join(f"{count} {name}" for name, count in here.kernels().most_common())
    print(
        f"{suite.name} {suite.version}: {len(verdict.passed)} pass, {len(verdict.named)} named differences, "
        f"{len(verdict.on_neither)} pass or run on neither kernel, {len(verdict.problems)} problems "
        f"({seconds:.0f} s; kernels: {kernels or 'none'})"
    )
    for test in verdict.named:
        print(f"    named: {test}: {named[test].reason}")
    for test in verdict.on_neither:
        if here.outcomes().get(test) != SKIPPED:
            print(f"    fails on both: {test}")
    problems = verdict.problems
    if not here.kernels()["callboard"]:
        problems.append("no test has started callboard")
    for problem in problems:
        print(f"  {problem}")
    if problems:
        print(f"  log: {here.log}")
    return problems


def main() -> int:
    suites, _ = read_suites()
    parser = argparse.ArgumentParser(prog="peers", allow_abbrev=False)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--kernel", choices=("callboard", "ipykernel"), default="callboard")
    parser.add_argument("--report-only", action="store_true")
    parser.add_argument("suites", nargs="*", metavar="SUITE", choices=[[], *suites])
    options = parser.parse_args()
    differences = read_differences()
    for kernel in {options.kernel, "ipykernel"}:
        if not options.report_only and (problem := check_kernelspec(options.place, kernel)):
            print(problem, file=sys.stderr)
            return 1
    problems: list[str] = []
    for name in options.suites or suites:
        suite = suites[name]
        named = {difference.test for difference in differences if difference.suite == name}
        reference = Run(options.place, suite, "ipykernel")
        if not options.report_only and (options.kernel == "ipykernel" or not reference.is_there):
            print(f"▸ {name} on ipykernel", flush=True)
            reference.run(set())
        if options.kernel == "ipykernel":
            counts = Counter(reference.outcomes().values())
            print(f"{name} {suite.version} on ipykernel: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
            for test, outcome in reference.outcomes().items():
                if outcome not in (PASSED, SKIPPED):
                    print(f"    {outcome}: {test}")
            continue
        run = Run(options.place, suite, "callboard")
        began = time.monotonic()
        if not options.report_only:
            print(f"▸ {name} on callboard", flush=True)
            run.run(named)
        problems += report(suite, run, reference, differences, time.monotonic() - began)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
