"""Starts a kernel as Jupyter does, runs a cell, interrupts one, and shuts the kernel down."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ..findings import error, ok, skipped, warning
from ..trial import Trial, TrialError
from . import core

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation
    from ..kernelspecs import Kernelspec

#: A start with a first cell that takes longer is slow, seconds. Half a second is usual, two where files are not cached.
_SLOW = 5.0


def check(installation: Installation) -> Iterator[Finding]:
    spec = installation.kernelspec
    if not installation.start:
        yield skipped("no kernel was started (--no-start)")
        return
    if spec is None or spec.program is None:
        yield skipped("there is no kernelspec to start a kernel with")
        return
    if spec.takes_python_of_jupyter and core.core_problem():
        yield skipped("callboard's compiled module is missing")
        return
    with Trial(installation, spec) as trial:
        try:
            trial.run()
        except TrialError as failure:
            yield error(
                failure.code,
                str(failure),
                f"start it in a terminal to see more: {_by_hand(spec)}",
                seconds=trial.seconds,
                terminal=trial.last_lines(),
            )
            return
    seconds = trial.seconds
    shown = ", ".join(f"{step.replace('_', ' ')} {each:.2f} s" for step, each in seconds.items())
    if seconds["ready"] + seconds["first_cell"] > _SLOW:
        yield warning(
            "slow-start",
            f"the kernel works, but starts slowly: {shown}",
            "look at startup files in IPython's profile, at the speed of the disk, and at what else the machine does",
            seconds=seconds,
        )
    else:
        yield ok(f"a kernel works: {shown}", seconds=seconds)


def _by_hand(spec: Kernelspec) -> str:
    words = [word for word in spec.argv if word not in ("-f", "{connection_file}")]
    return "CALLBOARD_LOG=debug " + shlex.join([str(spec.program), *words[1:]])
