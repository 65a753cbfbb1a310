"""The workloads of the table.

Each takes a kernel that has answered and gives samples for each of its figures, in their units. It checks what came
back and raises `KernelError` if it is not what was asked for.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from .client import Kernel, KernelError, check_ok, execution, now
from .kernels import ECHO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .client import Message
    from .kernels import Spec

    Samples = dict[str, list[float]]
    Workload = Callable[[Kernel], Samples]

#: How often a fresh kernel is started in one round.
STARTS = 3

#: Cells that are sent at once for the row of queued cells.
QUEUED = 500

#: Requests while the GIL is held, in one round, and the pause between them, seconds.
GIL_REQUESTS = 200
GIL_PAUSE = 0.005

#: How often each kind of cell is interrupted in one round, and the longest that may take, seconds.
INTERRUPTS = 3
INTERRUPT_LIMIT = 5.0

#: Opens a comm that sends everything back. The kernel opens it, as widgets do: in xeus-python no client can.
COMM = """
from comm import create_comm
def _back(m):
    _comm.send(m['content']['data'], buffers=m.get('buffers') or None)
_comm = create_comm(target_name='bench')
_comm.on_msg(_back)
"""


def timed(action: Callable[[], object], count: int, warm: int = 20) -> list[float]:
    """Seconds of each of `count` actions, after `warm` that are not counted."""
    for _ in range(warm):
        action()
    samples = []
    for _ in range(count):
        begin = now()
        action()
        samples.append(now() - begin)
    return samples


def scaled(seconds: Sequence[float], factor: float) -> list[float]:
    return [one * factor for one in seconds]


# -- what is checked


def check_text(messages: Sequence[Message], expected: str) -> None:
    """Raises `KernelError` unless the printed text is this."""
    text = "".join(message["content"]["text"] for message in messages if message["type"] == "stream")
    if text == expected:
        return
    lines, wanted = text.count("\n"), expected.count("\n")
    if lines != wanted or len(text) != len(expected):
        raise KernelError(f"output lost: {lines:,} of {wanted:,} lines, {len(text):,} of {len(expected):,} characters")
    raise KernelError("output is in the wrong order")


def check_order(got: Sequence[object], wanted: Sequence[object], what: str) -> None:
    """Raises `KernelError` unless these are the same in the same order."""
    if len(got) != len(wanted):
        raise KernelError(f"{what} lost: {len(got):,} of {len(wanted):,}")
    if list(got) != list(wanted):
        raise KernelError(f"{what} in the wrong order")


# -- start and rest


def startup(kernel: Kernel) -> Samples:
    """Starts fresh kernels beside the one of the round, which rests meanwhile."""
    first_reply, first_result = [], []
    for _ in range(STARTS):
        with Kernel(kernel.spec) as fresh:
            first_reply.append(fresh.ready() * 1e3)
            check_ok(fresh.reply("shell", fresh.execute("1+1")))
            first_result.append((now() - fresh.started) * 1e3)
    return {"startup_ms": first_reply, "first_result_ms": first_result}


def idle(kernel: Kernel) -> Samples:
    time.sleep(1.0)
    before = kernel.cpu_seconds()
    time.sleep(4.0)
    return {
        "idle_rss_mb": [kernel.memory()],
        "idle_cpu_pct": [(kernel.cpu_seconds() - before) / 4.0 * 100],
    }


# -- round trips


def info_rtt(kernel: Kernel) -> Samples:
    def ask(channel: str) -> Callable[[], object]:
        return lambda: kernel.reply(channel, kernel.send(channel, "kernel_info_request", {}))

    return {
        "info_shell_us": scaled(timed(ask("shell"), 300), 1e6),
        "info_control_us": scaled(timed(ask("control"), 300), 1e6),
    }


def run_alone(kernel: Kernel) -> None:
    """A cell, from sending it until its reply and idle are there."""
    msg_id = kernel.execute("pass")
    check_ok(kernel.reply("shell", msg_id))
    kernel.until_idle(msg_id)


def exec_rtt(kernel: Kernel) -> Samples:
    return {"exec_us": scaled(timed(lambda: run_alone(kernel), 200), 1e6)}


def complete(kernel: Kernel) -> Samples:
    kernel.run("import os, sys, json")

    def one() -> None:
        msg_id = kernel.send("shell", "complete_request", {"code": "os.path.jo", "cursor_pos": 10})
        matches = kernel.reply("shell", msg_id)["content"].get("matches", [])
        if not any(match.endswith("join") for match in matches):
            raise KernelError("the completion of os.path.jo has no join")

    return {"complete_us": scaled(timed(one, 30, warm=5), 1e6)}


# -- throughput


def send_cells(kernel: Kernel, count: int) -> tuple[float, list[str]]:
    """Sends so many cells `x=1` at once, which were made before; gives when, and the ids of their requests."""
    cells = [kernel.prepare("execute_request", execution(f"x={i}")) for i in range(count)]
    begin = now()
    for _, frames in cells:
        kernel.dispatch("shell", frames)
    return begin, [msg_id for msg_id, _ in cells]


def exec_pipelined(kernel: Kernel) -> Samples:
    begin, asked = send_cells(kernel, QUEUED)
    replies = [kernel.receive("shell") for _ in asked]
    kernel.until_idle(asked[-1])
    took = now() - begin
    check_order([reply["parent"] for reply in replies], asked, "replies")
    for reply in replies:
        check_ok(reply)
    return {"exec_pipelined_per_s": [len(asked) / took]}


def print_lines(kernel: Kernel) -> Samples:
    count = 100_000
    begin = now()
    messages = kernel.until_idle(kernel.execute(f"for i in range({count}): print(i)"), 60)
    took = now() - begin
    check_text(messages, "".join(f"{i}\n" for i in range(count)))
    return {"print_lines_per_s": [count / took]}


def first_print(kernel: Kernel) -> Samples:
    samples = []
    for _ in range(5):
        code = "import time\ntime.sleep(.05)\nprint(time.time(), flush=False)\ntime.sleep(.5)"
        msg_id = kernel.execute(code)
        printed = kernel.until("stream", msg_id)
        samples.append((time.time() - float(printed["content"]["text"])) * 1e3)
        kernel.until_idle(msg_id)
    return {"print_latency_ms": samples}


def display(kernel: Kernel) -> Samples:
    count = 2000
    begin = now()
    code = f"from IPython.display import display, HTML\nh=HTML('<b>x</b>')\nfor i in range({count}): display(h)"
    messages = kernel.until_idle(kernel.execute(code), 30)
    took = now() - begin
    got = sum(message["type"] == "display_data" for message in messages)
    if got != count:
        raise KernelError(f"display_data lost: {got:,} of {count:,}")
    return {"display_per_s": [count / took]}


def big_output(kernel: Kernel) -> Samples:
    size = 64 * 2**20
    kernel.run(f"big='x'*{size}")
    begin = now()
    messages = kernel.until_idle(kernel.execute("print(big)"), 60)
    took = now() - begin
    check_text(messages, "x" * size + "\n")
    return {"big_output_mb_per_s": [size / 2**20 / took], "big_output_peak_mb": [kernel.peak_memory()]}


# -- comms


class Comm:
    """A comm of a kernel that sends back what it gets."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        if kernel.spec.name == ECHO:
            self._id = "echo"
            return
        cell = kernel.execute(COMM)
        check_ok(kernel.reply("shell", cell))
        # async-kernel publishes it with another parent than the cell.
        self._id = kernel.until("comm_open", timeout=5)["content"]["comm_id"]

    def prepare(self, number: int, buffers: Sequence[bytes] = ()) -> list[bytes]:
        content = {"comm_id": self._id, "data": {"i": number}}
        return self._kernel.prepare("comm_msg", content, buffers=buffers)[1]

    def send(self, frames: list[bytes]) -> None:
        self._kernel.dispatch("shell", frames)

    def receive(self) -> Message:
        return self._kernel.until("comm_msg", timeout=5)

    def echo(self, number: int = 0, buffers: Sequence[bytes] = ()) -> Message:
        self.send(self.prepare(number, buffers))
        return self.receive()


def comm_rtt(kernel: Kernel) -> Samples:
    return {"comm_rtt_us": scaled(timed(Comm(kernel).echo, 200), 1e6)}


def comm_pipelined(kernel: Kernel) -> Samples:
    count = 2000
    comm = Comm(kernel)
    messages = [comm.prepare(number) for number in range(count)]
    begin = now()
    for message in messages:
        comm.send(message)
    got = [comm.receive() for _ in range(count)]
    took = now() - begin
    check_order([message["content"]["data"]["i"] for message in got], range(count), "comm messages")
    return {"comm_per_s": [count / took]}


def comm_buffers(kernel: Kernel) -> Samples:
    comm = Comm(kernel)
    buffer = os.urandom(16 * 2**20)
    samples = []
    for _ in range(4):
        begin = now()
        back = comm.echo(0, [buffer])["buffers"]
        took = now() - begin
        if list(back) != [buffer]:
            raise KernelError("a buffer came back changed")
        samples.append(2 * 16 / took)
    return {"comm_buffer_mb_per_s": samples}


def comm_awaiting(kernel: Kernel) -> Samples:
    comm = Comm(kernel)
    cell = kernel.execute("import asyncio; await asyncio.sleep(4)")
    kernel.until("execute_input", cell)
    time.sleep(0.5)
    begin = now()
    comm.echo()
    took = now() - begin
    kernel.reply("shell", cell)
    return {"comm_awaiting_ms": [took * 1e3]}


# -- while a cell runs


def busy_python(kernel: Kernel) -> Samples:
    cell = kernel.execute("import time\nt=time.time()+6\nwhile time.time()<t: pass")
    kernel.until("execute_input", cell)
    time.sleep(0.3)

    def control() -> None:
        kernel.reply("control", kernel.send("control", "kernel_info_request", {}))

    samples = timed(control, 20, warm=0)
    begin = now()
    kernel.reply("shell", kernel.send("shell", "complete_request", {"code": "imp", "cursor_pos": 3}))
    completion = now() - begin
    kernel.reply("shell", cell)
    return {"control_busy_ms": scaled(samples, 1e3), "complete_busy_ms": [completion * 1e3]}


def busy_gil(kernel: Kernel) -> Samples:
    cell = kernel.execute("sum(range(200_000_000))")
    time.sleep(0.3)
    control, heartbeat = [], []
    # Only what is asked while the cell still runs counts: its reply is there as soon as it has ended.
    while len(control) < GIL_REQUESTS and not kernel.waiting("shell"):
        answered, beaten = kernel.ask_and_beat(30)
        control.append(answered * 1e3)
        heartbeat.append(beaten * 1e3)
        time.sleep(GIL_PAUSE)
    if not control:
        raise KernelError("the cell was over before anything could be asked")
    kernel.reply("shell", cell, 60)
    return {"control_gil_ms": control, "heartbeat_gil_ms": heartbeat}


def _interrupted(kernel: Kernel, code: str) -> list[float]:
    samples = []
    for _ in range(INTERRUPTS):
        cell = kernel.execute(code)
        time.sleep(0.4)
        begin = now()
        kernel.interrupt()
        try:
            reply = kernel.reply("shell", cell, INTERRUPT_LIMIT)
        except KernelError as failed:
            raise KernelError(f"not interrupted in {INTERRUPT_LIMIT:g} s") from failed
        samples.append((now() - begin) * 1e3)
        if reply["content"].get("status") != "error":
            raise KernelError("the interrupted cell says ok")
        kernel.settle(0.2)
    return samples


def interrupt_loop(kernel: Kernel) -> Samples:
    return {"interrupt_loop_ms": _interrupted(kernel, "while True: pass")}


def interrupt_sleep(kernel: Kernel) -> Samples:
    return {"interrupt_sleep_ms": _interrupted(kernel, "import time; time.sleep(60)")}


def interrupt_await(kernel: Kernel) -> Samples:
    return {"interrupt_await_ms": _interrupted(kernel, "import asyncio; await asyncio.sleep(20)")}


# -- many cells at once


def all_ok(kernel: Kernel, asked: list[str], timeout: float) -> float:
    """Waits for the replies to these requests, in any order, which must say ok; gives the seconds that took."""
    begin = now()
    missing = set(asked)
    while missing:
        so_far = f"{len(asked) - len(missing):,} of {len(asked):,} replies in {timeout:g} s"
        reply = kernel.receive("shell", timeout - (now() - begin), so_far)
        if reply["parent"] in missing:
            check_ok(reply)
            missing.discard(reply["parent"])
    return now() - begin


def tasks(kernel: Kernel) -> Samples:
    kernel.run("import asyncio")
    begin = now()
    all_ok(kernel, [kernel.execute("# task\nawait asyncio.sleep(.05)") for _ in range(200)], 30)
    return {"tasks_200_s": [now() - begin]}


def threads(kernel: Kernel) -> Samples:
    kernel.run("import time")
    begin = now()
    all_ok(kernel, [kernel.execute("# thread\ntime.sleep(.05)") for _ in range(50)], 30)
    return {"threads_50_s": [now() - begin]}


def create_subshells(kernel: Kernel, count: int) -> list[str]:
    """New subshells; gives their ids."""
    asked = [kernel.send("control", "create_subshell_request", {}) for _ in range(count)]
    made = []
    for msg_id in asked:
        try:
            reply = kernel.reply("control", msg_id, 3)
        except KernelError as failed:
            raise KernelError("no reply to create_subshell_request") from failed
        check_ok(reply)
        made.append(reply["content"]["subshell_id"])
    return made


def subshell(kernel: Kernel) -> Samples:
    (made,) = create_subshells(kernel, 1)
    main = kernel.execute("import time; time.sleep(3)")
    kernel.until("execute_input", main)
    time.sleep(0.4)
    begin = now()
    check_ok(kernel.reply("shell", kernel.execute("1+1", subshell=made), 10))
    took = now() - begin
    kernel.reply("shell", main)
    kernel.reply("control", kernel.send("control", "delete_subshell_request", {"subshell_id": made}))
    return {"subshell_ms": [took * 1e3]}


# -- end


def shutdown(kernel: Kernel) -> Samples:
    begin = now()
    kernel.send("control", "shutdown_request", {"restart": False})
    kernel.wait(10)
    return {"shutdown_ms": [(now() - begin) * 1e3]}


#: All of them, in the order in which a round runs them. After shutdown the kernel is gone.
WORKLOADS: dict[str, Workload] = {
    work.__name__: work
    for work in (
        startup, idle, info_rtt, exec_rtt, exec_pipelined, print_lines, first_print, display, comm_rtt, comm_pipelined,
        comm_buffers, comm_awaiting, busy_python, busy_gil, interrupt_loop, interrupt_sleep, interrupt_await, tasks,
        threads, subshell, complete, big_output, shutdown,
    )
}  # fmt: skip

#: What the bare echo can be asked.
OF_ECHO = frozenset({"info_rtt", "exec_rtt", "exec_pipelined", "comm_rtt", "comm_pipelined", "comm_buffers"})


def start(spec: Spec) -> Kernel:
    """A kernel that has executed a first cell."""
    kernel = Kernel(spec)
    try:
        kernel.ready()
        kernel.subscribed()
        kernel.run("1+1")
        kernel.settle()
    except BaseException:
        kernel.close()
        raise
    return kernel
