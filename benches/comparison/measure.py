"""Runs the workloads on the kernels in turn and stores their samples."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import growth, limits, processor
from .client import Kernel, KernelError, now
from .figures import of_workload
from .kernels import ECHO, OURS
from .workloads import OF_ECHO, WORKLOADS, start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .kernels import Spec
    from .results import Results


def say(text: str) -> None:
    """Prints a line of progress."""
    print(text, file=sys.stderr, flush=True)


class _Round:
    """One kernel in one round: the same one for all workloads, replaced when one of them has gone wrong."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._kernel: Kernel | None = None

    def get(self) -> Kernel:
        if self._kernel is None:
            self._kernel = Kernel(self._spec) if self._spec.name == ECHO else start(self._spec)
            if self._spec.name == ECHO:
                self._kernel.ready()
                self._kernel.subscribed()
        return self._kernel

    def drop(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None


def rounds(results: Results, specs: Sequence[Spec], names: Sequence[str], count: int) -> None:
    """The table: every workload on every kernel in turn, round after round.

    A workload that fails on a kernel is not tried again on it in this run: the row says that it fails in any case.
    """
    for number in range(1, count + 1):
        for spec in specs:
            begin = now()
            one = _Round(spec)
            try:
                for name in names:
                    if spec.name != ECHO or name in OF_ECHO:
                        _one(results, one, spec, name)
            finally:
                one.drop()
                results.save()
            say(f"round {number} of {count}: {spec.name}, {now() - begin:.0f} s")


def _one(results: Results, one: _Round, spec: Spec, name: str) -> None:
    figures = of_workload(name)
    if any(results.has_failed(figure.name, spec.name) for figure in figures):
        return
    try:
        kernel = one.get()
        kernel.settle()
        samples = WORKLOADS[name](kernel)
    except KernelError as failed:
        reason = str(failed)
        for figure in figures:
            results.add_failure(figure.name, spec.name, reason)
        say(f"  {spec.name}: {name} fails: {reason}")
        one.drop()
        return
    for figure, values in samples.items():
        results.add_round(figure, spec.name, values)
    if name == "shutdown":
        one.drop()


def of_limits(results: Results, specs: Sequence[Spec]) -> None:
    """The limits, measured with the Python of callboard, and the processor time of a cell."""
    for spec in specs:
        if spec.name == OURS:
            for name, samples in (limits.measure(spec.argv[0], spec.env) | processor.measure(spec)).items():
                results.set_limit(name, samples)
            results.save()
            say("limits")


def of_growth(results: Results, specs: Sequence[Spec], what: growth.Growth) -> None:
    """One kind of work that grows, on every kernel in turn; a kernel that fails at one step takes none of the next."""
    taken: dict[tuple[str, int], float] = {}
    for step, spec in _turns(specs, what.steps):
        if results.is_broken(what.name, spec.name) or taken.get((spec.name, step), 0) > growth.LONG:
            continue
        begin = now()
        try:
            point = growth.point(what, spec, step)
        except KernelError as failed:
            results.add_broken(what.name, spec.name, step, str(failed))
            say(f"  {spec.name}: {what.name} fails at {step}: {failed}")
        else:
            results.add_point(what.name, spec.name, step, point)
            say(f"{what.name} {step}: {spec.name}, {now() - begin:.1f} s")
            taken[spec.name, step] = point["seconds"]
    results.save()


def _turns(specs: Sequence[Spec], steps: Sequence[int]) -> Iterator[tuple[int, Spec]]:
    for step in steps:
        for _ in range(growth.REPEATS):
            for spec in specs:
                if spec.name != ECHO:
                    yield step, spec


def of_memory(results: Results, specs: Sequence[Spec], count: int) -> None:
    """Memory after many cells, one kernel after the other."""
    for spec in specs:
        if spec.name == ECHO:
            continue
        begin = now()
        try:
            for step, point in growth.memory(spec, count):
                results.add_point("memory", spec.name, step, point)
        except KernelError as failed:
            results.add_broken("memory", spec.name, count, str(failed))
            say(f"  {spec.name}: memory fails: {failed}")
        results.save()
        say(f"memory of {count} cells: {spec.name}, {now() - begin:.0f} s")
