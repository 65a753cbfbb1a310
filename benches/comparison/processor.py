"""The processor time of a cell, by thread of callboard and of the client."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from .workloads import QUEUED, exec_pipelined, run_alone, start

if TYPE_CHECKING:
    from .client import Kernel
    from .kernels import Spec

#: The threads, and what they do.
THREADS = {
    "main": "its main thread, which runs IPython",
    "io": "the thread of the sockets and actors",
    "other": "all other threads, which are libzmq's for the most part",
    "client": "the client",
}

#: How cells come, and how many of them in one go.
LOADS = {"alone": ("a cell `pass` that comes alone", 200), "queued": (f"one of {QUEUED} queued cells", QUEUED)}

#: What each value is, for the reader of the page.
MEANINGS = {
    f"cpu_{load}_{thread}_us": (
        f"processor time of {what} in callboard: {of}" if thread == "main" else f"the same, {of}"
    )
    for load, (what, _) in LOADS.items()
    for thread, of in THREADS.items()
}

#: Times that cells are sent: before anything counts, and after.
WARM = 4
COUNT = 10


def _of_threads(pid: int) -> dict[str, float]:
    """Processor time that each kind of thread has used, µs."""
    found = dict.fromkeys(("main", "io", "other"), 0.0)
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text()
            used = int((task / "schedstat").read_text().split()[0]) / 1e3
        except FileNotFoundError:  # a thread that has just ended
            continue
        main, io = task.name == str(pid), name.startswith("callboard-io")
        found["main" if main else "io" if io else "other"] += used
    return found


def measure(spec: Spec) -> dict[str, list[float]]:
    """The times of a cell. Nothing where the system does not tell them."""
    if not Path("/proc/self/schedstat").exists():
        return {}
    samples: dict[str, list[float]] = {name: [] for name in MEANINGS}
    with start(spec) as kernel:
        for load, (_, cells) in LOADS.items():
            for go in range(WARM + COUNT):
                before = {**_of_threads(kernel.process.pid), "client": time.process_time() * 1e6}
                _send(kernel, load, cells)
                after = {**_of_threads(kernel.process.pid), "client": time.process_time() * 1e6}
                if go >= WARM:
                    for thread, used in after.items():
                        samples[f"cpu_{load}_{thread}_us"].append((used - before[thread]) / cells)
    return samples


def _send(kernel: Kernel, load: str, cells: int) -> None:
    if load == "queued":
        exec_pipelined(kernel)
    else:
        for _ in range(cells):
            run_alone(kernel)
