"""The cost of a ``pass`` cell for a whole kernel, in counts that hardly depend on the machine: a guard against changes
that make it slower unnoticed. Times are in the benchmarks.

Load can only make these counts larger: each is taken in several portions, and the least counts. The reports of the tests
(``-rP``) show what was counted. The counts of the Rust side alone are in ``tests/counts.rs``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client, Kernel

    #: Reads counters that only grow, by name.
    Counters = Callable[[], dict[str, int]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts are those of Linux")

# The bounds, for each cell. Lower one when what it bounds becomes cheaper. Behind it: what was measured, with Python 3.11
# and IPython 9.

#: Of cells that come one by one.
ALONE = {
    "Python calls on main": 210,  # 161, without uvloop 191
    "C calls on main": 172,  # 122, without uvloop 150
    "switches of main": 2,  # 1: it waits for the next cell
    "switches of callboard-io": 8,  # 2.1, under load up to 6: the request, what is published, the reply, idle
    "system calls of main": 16,  # 9.3, without uvloop 12.6
    "wake-ups of main": 3.5,  # 2, without uvloop 3: the inbox, and what it has put off to the loop's next round
    "system calls of callboard-io": 26,  # 17 to 19.5
    "system calls of all threads": 72,  # 45 to 59, libzmq's own threads with them
}

#: Of 500 cells that come at once. How many of them a thread finds when it looks differs from run to run.
PIPELINED = {
    "switches of main": 0.5,  # 0.01: it goes from one to the next
    "switches of callboard-io": 4.5,  # 1.1, without the tracing up to 2.9
    "system calls of main": 8,  # 5
    "wake-ups of main": 1.5,  # 1: a round of the loop, without a wait
    "system calls of callboard-io": 14,  # 4.1
    "system calls of all threads": 40,  # 12
}

#: What Python keeps of a cell, in blocks of memory; with ``store_history`` and without.
KEPT = {True: 12, False: 0.5}  # 9.4: In, _i1 and so on; 0.02

#: Modules that a kernel has loaded when its first cell runs, but for those that Python has loaded before it starts.
#: 18 of them are those of the package ipykernel, which are empty. The standard library has more modules each time: 354
#: are loaded on 3.11, 356 on 3.13, 364 on 3.14.
LOADED = 355 if sys.version_info < (3, 13) else 357 if sys.version_info < (3, 14) else 366

# How much is counted.
PORTIONS = 6
PORTION = 25
FLOOD = 500


def pass_cells(client: Client, count: int, *, at_once: bool = False, **options: object) -> None:
    """Runs cells to their ends. Forgets their messages."""
    waves = [count] if at_once else [1] * count
    for wave in waves:
        client.log.clear()
        client.replies().clear()
        msg_ids = [client.execute("pass", **options) for _ in range(wave)]
        client.reply(msg_ids[-1])
        client.wait_idle(msg_ids[-1])
    client.log.clear()
    client.replies().clear()


def least(client: Client, counters: Counters, count: int, **how: bool) -> dict[str, float]:
    """The least that a cell of a portion of `count` cells adds to each of these counters."""
    pass_cells(client, count, **how)
    portions = []
    for _ in range(PORTIONS):
        before = counters()
        pass_cells(client, count, **how)
        after = counters()
        portions.append({name: (after[name] - before[name]) / count for name in before})
    return {name: min(portion[name] for portion in portions) for name in portions[0]}


def check(counted: dict[str, float], bounds: dict[str, float]) -> None:
    print("\n".join(f"{name}: {count:.2f}, at most {bounds[name]}" for name, count in counted.items()))
    above = [
        f"{name}: {count:.2f}, more than {bounds[name]}" for name, count in counted.items() if count > bounds[name]
    ]
    assert not above, "a cell has become dearer; make it cheaper again, or raise the bound and say why"


def threads(pid: int) -> dict[str, Path]:
    """The folders in /proc of the threads that are counted."""
    tasks = {(task / "comm").read_text().strip(): task for task in Path(f"/proc/{pid}/task").iterdir()}
    return {"main": Path(f"/proc/{pid}/task/{pid}"), "callboard-io": tasks["callboard-io"]}


def test_a_cell_is_three_messages_and_a_reply(client: Client) -> None:
    msg_ids = []
    for _ in range(PORTION):
        run = client.run("pass")
        msg_ids.append(run.msg_id)
        assert run.types == ["busy", "execute_input", "idle"]
    msg_ids += [client.execute("pass") for _ in range(PORTION)]
    client.finish(msg_ids[-1])
    client.ask("kernel_info_request")
    replied = [message["parent_header"]["msg_id"] for message in client.replies()]
    assert replied[:-1] == msg_ids
    published = Counter(message["parent_header"].get("msg_id") for message in client.log)
    assert {published[msg_id] for msg_id in msg_ids} == {3}


COUNT_CALLS = """
def _count():
    import sys
    counts = {"call": 0, "c_call": 0}
    def profile(frame, event, arg):
        if event in counts:
            counts[event] += 1
    sys.setprofile(profile)
    return counts
_counts = _count()
"""


def test_modules_that_the_first_cell_waits_for(start_kernel: Callable[..., Kernel]) -> None:
    loaded = "import sys; print(len(sys.modules))"
    before = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout
    with start_kernel().connect() as client:
        check({"modules": int(client.run(loaded).stdout) - int(before)}, {"modules": LOADED})


def test_calls_of_python(fresh_client: Client) -> None:
    fresh_client.run(COUNT_CALLS)

    def counters() -> dict[str, int]:
        run = fresh_client.run("import json; print(json.dumps(_counts))")
        counts = json.loads(run.stdout)
        return {"Python calls on main": counts["call"], "C calls on main": counts["c_call"]}

    # What the cell that reads the counts takes is the same each time.
    pass_cells(fresh_client, PORTION)
    few = least(fresh_client, counters, PORTION)
    many = least(fresh_client, counters, 2 * PORTION)
    check({name: 2 * many[name] - few[name] for name in few}, ALONE)


@pytest.mark.parametrize("at_once", [False, True])
def test_switches(client: Client, kernel: Kernel, *, at_once: bool) -> None:
    places = threads(kernel.process.pid)

    def counters() -> dict[str, int]:
        return {f"switches of {name}": voluntary(task) for name, task in places.items()}

    def voluntary(task: Path) -> int:
        lines = (task / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

    counted = least(client, counters, FLOOD if at_once else PORTION, at_once=at_once)
    check(counted, PIPELINED if at_once else ALONE)


def can_trace() -> bool:
    strace = shutil.which("strace")
    return bool(strace) and subprocess.run([strace, "-o", "/dev/null", "true"], capture_output=True).returncode == 0


def test_system_calls(start_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    if not can_trace():
        pytest.skip("strace is not installed, or may not trace: apt-get install strace")
    # The kernel is its parent, and keeps its id.
    kernel = start_kernel(wrapper=("strace", "-D", "-ff", "-q", "-o", str(tmp_path / "trace")))
    with kernel.connect() as client:
        client.run("pass")
        names = {task.name: name for name, task in threads(kernel.process.pid).items()}
        #: How far the file of each thread has been read, and what was in it.
        places: Counter[Path] = Counter()
        seen: Counter[str] = Counter()

        def counters() -> dict[str, int]:
            for file in tmp_path.glob("trace.*"):
                with file.open("rb") as lines:
                    lines.seek(places[file])
                    text = lines.read()
                text = text[: text.rfind(b"\n") + 1]
                places[file] += len(text)
                calls = [line for line in text.splitlines() if not line.startswith((b"---", b"+++"))]
                name = names.get(file.suffix[1:], "others")
                seen[f"system calls of {name}"] += len(calls)
                seen["system calls of all threads"] += len(calls)
                if name == "main":
                    seen["wake-ups of main"] += sum(line.startswith(b"epoll") and b"wait(" in line for line in calls)
            return dict(seen)

        for bounds, count in ((ALONE, PORTION), (PIPELINED, FLOOD)):
            counted = least(client, counters, count, at_once=bounds is PIPELINED)
            check({name: counted[name] for name in bounds if name in counted}, bounds)


@pytest.mark.parametrize("store_history", [True, False])
def test_memory_that_python_keeps(fresh_client: Client, *, store_history: bool) -> None:
    def blocks() -> int:
        run = fresh_client.run("import gc, sys; gc.collect(); print(sys.getallocatedblocks())", store_history=False)
        return int(run.stdout)

    counted = least(fresh_client, lambda: {"blocks": blocks()}, FLOOD, at_once=True, store_history=store_history)
    check(counted, {"blocks": KEPT[store_history]})
