"""Where the time of a cell goes: the processor time of callboard's threads and of the client."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from .workloads import QUEUED, exec_pipelined, start

if TYPE_CHECKING:
    from .kernels import Spec

#: What each value is, for the reader of the page.
MEANINGS = {
    "cpu_main_us": "processor time of one of 500 queued cells in callboard: its main thread, which runs IPython",
    "cpu_io_us": "the same, the thread of the sockets and actors",
    "cpu_other_us": "the same, all other threads, which are libzmq's for the most part",
    "cpu_client_us": "the same in the client",
}

#: Floods of cells: before anything counts, and after.
WARM = 4
COUNT = 10


def _of_threads(pid: int) -> dict[str, float]:
    """Processor time that each kind of thread has used, µs."""
    found = dict.fromkeys(("cpu_main_us", "cpu_io_us", "cpu_other_us"), 0.0)
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text()
            used = int((task / "schedstat").read_text().split()[0]) / 1e3
        except FileNotFoundError:  # a thread that has just ended
            continue
        main, io = task.name == str(pid), name.startswith("callboard-io")
        found["cpu_main_us" if main else "cpu_io_us" if io else "cpu_other_us"] += used
    return found


def measure(spec: Spec) -> dict[str, list[float]]:
    """The times of a cell, one for each flood. Nothing where the system does not tell them."""
    if not Path("/proc/self/schedstat").exists():
        return {}
    samples: dict[str, list[float]] = {name: [] for name in MEANINGS}
    with start(spec) as kernel:
        for flood in range(WARM + COUNT):
            before, client = _of_threads(kernel.process.pid), time.process_time()
            exec_pipelined(kernel)
            if flood < WARM:
                continue
            samples["cpu_client_us"].append((time.process_time() - client) * 1e6 / QUEUED)
            for name, used in _of_threads(kernel.process.pid).items():
                samples[name].append((used - before[name]) / QUEUED)
    return samples
