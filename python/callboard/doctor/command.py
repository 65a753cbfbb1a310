"""The command line of ``callboard doctor``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from . import report
from .checks import CHECKS
from .findings import warning
from .installation import Installation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .findings import Finding


def main(args: Sequence[str]) -> int:
    """Examines the installation and prints what it finds. Returns 0 if kernels work, else 1; a wrong use ends the
    program with 2."""
    parser = argparse.ArgumentParser(
        prog="callboard doctor",
        description="Says what is wrong with this installation of callboard, and how to mend it. Starts a kernel, "
        "and leaves nothing behind.",
        epilog="Exit code: 0 if kernels work, whatever the warnings; 1 if something is wrong; 2 for a wrong use.",
    )
    parser.add_argument("--kernel", metavar="NAME", help="name of the kernelspec (default: callboard)")
    parser.add_argument("--folder", type=Path, default=Path(), help="the notebook's folder (default: the current one)")
    parser.add_argument("--no-start", action="store_true", help="start no kernel")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs (docs/doctor.md has the keys)")
    options = parser.parse_args(args)
    if not options.folder.is_dir():
        parser.error(f"--folder: there is no folder {options.folder}")
    # Libraries tell the same, at length.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    installation = Installation(options.kernel, options.folder.absolute(), start=not options.no_start)
    try:
        return _examine(installation, as_json=options.json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has enough. Python would complain when it flushes the stream at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _examine(installation: Installation, *, as_json: bool) -> int:
    lines = report.Lines(sys.stdout)
    rows: list[tuple[str, Finding]] = []
    for name, check in CHECKS.items():
        for finding in _guarded(check, installation):
            rows.append((name, finding))
            if not as_json:
                lines.write(name, finding)
    if as_json:
        print(report.as_json(rows, installation), flush=True)
    else:
        lines.end(rows)
    return int(any(finding.level == "error" for _, finding in rows))


def _guarded(check: Callable[[Installation], Iterable[Finding]], installation: Installation) -> Iterator[Finding]:
    """The findings of a check; one more if it fails, so that the others are made nevertheless."""
    try:
        yield from check(installation)
    except Exception as failure:  # noqa: BLE001 - what is broken may raise anything
        text = f"this could not be checked: {type(failure).__name__}: {failure}"
        yield warning("not-checked", text, "look at what the error names; if that is in order, report it as a fault")
