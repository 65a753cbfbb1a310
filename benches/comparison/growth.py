"""Growth: the same work in growing amounts, each on a fresh kernel."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zmq

from .client import Kernel, KernelError, Message, check_ok, now
from .workloads import all_ok, check_order, check_text, create_subshells, send_cells, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .kernels import Spec

    #: One point of a curve: a value for each measure.
    Point = dict[str, float]

#: The longest that one point may take, seconds.
LIMIT = 120.0

#: The longest that a kernel may answer none of the cells that are queued, seconds.
STALL = 20.0

#: How often a point is measured, unless it takes longer than this, seconds.
REPEATS = 3
LONG = 2.0

#: Cells that are queued at a time where there are many.
PORTION = 500


@dataclass(frozen=True)
class Measure:
    """A measure, taken at each point."""

    name: str
    title: str
    unit: str


@dataclass(frozen=True)
class Growth:
    """One kind of work that grows."""

    name: str
    title: str
    #: What grows.
    axis: str
    steps: tuple[int, ...]
    measures: tuple[Measure, ...]
    #: What is measured, for the reader of the page.
    meaning: str
    measure: Callable[[Kernel, int], Point]


def cells(kernel: Kernel, count: int) -> Point:
    begin, asked = send_cells(kernel, count)
    replies = []
    for _ in asked:
        left = LIMIT - (now() - begin)
        reason = f"in {LIMIT:g} s" if left < STALL else f"and then none in {STALL:g} s"
        missing = f"{len(replies):,} of {count:,} replies {reason}"
        replies.append(kernel.receive("shell", min(left, STALL), missing))
    kernel.until_idle(asked[-1])
    took = now() - begin
    check_order([reply["parent"] for reply in replies], asked, "replies")
    for reply in replies:
        check_ok(reply)
    return {"seconds": took}


def tasks(kernel: Kernel, count: int) -> Point:
    kernel.run("import asyncio")
    begin = now()
    all_ok(kernel, [kernel.execute("# task\nawait asyncio.sleep(.05)") for _ in range(count)], LIMIT)
    return {"seconds": now() - begin}


def subshells(kernel: Kernel, count: int) -> Point:
    main = kernel.execute("import time; time.sleep(60)")
    kernel.until("execute_input", main)
    time.sleep(0.2)
    before = kernel.memory()
    begin = now()
    made = create_subshells(kernel, count)
    all_ok(kernel, [kernel.execute("1+1", subshell=one) for one in made], 10)
    took = now() - begin
    return {"seconds": took, "mb_each": (kernel.memory() - before) / count}


def outputs(kernel: Kernel, size: int) -> Point:
    kernel.run(f"big='x'*{size}")
    begin = now()
    messages = kernel.until_idle(kernel.execute("print(big)"), LIMIT)
    took = now() - begin
    check_text(messages, "x" * size + "\n")
    return {"seconds": took, "peak_mb": kernel.peak_memory()}


def subscribers(kernel: Kernel, count: int) -> Point:
    lines = 100_000
    sockets = kernel.subscribers(count)
    poller = zmq.Poller()
    for one in sockets:
        poller.register(one, zmq.POLLIN)
    got: dict[zmq.Socket[bytes], list[Message]] = {one: [] for one in sockets}
    begin = now()
    cell = kernel.execute(f"for i in range({lines}): print(i)")
    while poller.sockets:
        if now() - begin > LIMIT:
            raise KernelError(f"{len(poller.sockets)} of {count} subscribers without the end after {LIMIT:g} s")
        for one, _ in poller.poll(100):
            while one.poll(0):
                message = Message(one.recv_multipart())
                got[one].append(message)
                if message.is_for(cell) and message.is_idle():
                    poller.unregister(one)
                    break
    took = now() - begin
    expected = "".join(f"{i}\n" for i in range(lines))
    for messages in got.values():
        check_text([message for message in messages if message.is_for(cell)], expected)
    return {"seconds": took}


def memory(spec: Spec, count: int) -> Iterator[tuple[int, Point]]:
    """Executes `count` cells, some at a time; gives the memory after none, a hundredth, a tenth, a quarter, a half and
    all of them."""
    marks = sorted({int(count * part) for part in (0, 0.01, 0.1, 0.25, 0.5, 1)})
    done = 0
    with start(spec) as kernel:
        for mark in marks:
            while done < mark:
                asked = [kernel.execute(f"x={done + i}") for i in range(min(PORTION, mark - done))]
                try:
                    all_ok(kernel, asked, LIMIT / 2)
                except KernelError as error:
                    raise KernelError(f"after {done:,} cells: {error}") from error
                kernel.until_idle(asked[-1])
                done += len(asked)
            yield mark, {"mb": kernel.memory()}


SECONDS = Measure("seconds", "Time", "s")

GROWTHS = (
    Growth("cells", "Queued cells", "cells", (1, 10, 100, 1000, 10_000), (SECONDS,),
           "Cells `x=1` are sent at once; until the last reply and idle. All replies must say ok, in order.", cells),
    Growth("tasks", "Concurrent tasks", "cells", (1, 10, 100, 1000), (SECONDS,),
           "Cells `# task` that await `asyncio.sleep(.05)` are sent at once; until the last reply. callboard and "
           "async-kernel run them at the same time. For the others the first line is a comment, and they run them one "
           "after the other.", tasks),
    Growth("subshells", "Subshells", "subshells", (1, 2, 4, 8, 16, 32, 64),
           (SECONDS, Measure("mb_each", "Memory for each", "MB")),
           "While the main shell is in `time.sleep`, subshells are created, and each gets a cell; from the first "
           "request to the last reply. The memory is what the kernel has more than before, divided by the number.",
           subshells),
    Growth("outputs", "Size of an output", "bytes", tuple(2**n for n in (10, 15, 20, 24, 26, 28)),
           (SECONDS, Measure("peak_mb", "Peak memory", "MB")),
           "One `print` of a string of this size, 1 KB to 256 MB; until the idle. Every character must be there.",
           outputs),
    Growth("subscribers", "Subscribers of iopub", "subscribers", (1, 2, 4, 8), (SECONDS,),
           "One cell prints 100,000 lines; until all subscribers have its idle. Each must have got every line, in "
           "order.", subscribers),
)  # fmt: skip

#: The section that measures memory has one kernel work for long instead of many for a short time.
MEMORY = Growth(
    "memory",
    "Memory after many cells",
    "cells",
    (),
    (Measure("mb", "Memory", "MB"),),
    f"Cells `x=1`, {PORTION} at a time, all in the history; resident memory of the kernel.",
    cells,
)


def point(growth: Growth, spec: Spec, step: int) -> Point:
    """One point of a curve, on a fresh kernel."""
    with start(spec) as kernel:
        return growth.measure(kernel, step)
