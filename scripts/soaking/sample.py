"""Samples of a kernel's memory, descriptors, threads and child processes."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass
class Sample:
    """The kernel's resources at one time, between two pieces of work. Sizes in MB."""

    at: float
    rss: float
    pss: float
    uss: float
    descriptors: int
    threads: int
    children: int
    anonymous: float
    #: The anonymous memory after `_give_back`.
    used: float = 0.0

    @classmethod
    def take(cls, pid: int, at: float) -> Sample:
        """Reads them from /proc, without `used`."""
        sizes: Counter[str] = Counter()
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, size, *_ = line.split()
            sizes[name.rstrip(":")] += int(size)
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = 0
        for task in tasks:
            with contextlib.suppress(FileNotFoundError):
                children += len((task / "children").read_text().split())
        uss = sizes["Private_Clean"] + sizes["Private_Dirty"]
        rss, pss, uss, anonymous = (
            kilobytes * 1024 / 1e6 for kilobytes in (sizes["Rss"], sizes["Pss"], uss, sizes["Anonymous"])
        )
        return cls(at, rss, pss, uss, len(os.listdir(f"/proc/{pid}/fd")), len(tasks), children, anonymous)


def middle(samples: list[Sample], name: str) -> float:
    return median(getattr(sample, name) for sample in samples)
