"""The figures of the table, each with its unit, direction and goals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Goal:
    """A bound for callboard's figure.

    `of` says what the bound is for: ``best`` the ratio to the best peer, ``echo`` the ratio to the bare echo,
    ``median`` and ``p99`` the value itself, in the unit of the figure. A ratio to the best peer of a figure where
    higher is better has to reach the bound, everything else must not exceed it.
    """

    of: Literal["best", "echo", "median", "p99"]
    bound: float


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    #: The workload that measures it.
    workload: str
    title: str
    unit: str
    better: Better
    #: What is measured, for the reader of the page.
    meaning: str
    goals: tuple[Goal, ...] = ()


def _lower(name: str, workload: str, title: str, unit: str, meaning: str, *goals: Goal) -> Figure:
    return Figure(name, workload, title, unit, "lower", meaning, goals)


def _higher(name: str, workload: str, title: str, unit: str, meaning: str, *goals: Goal) -> Figure:
    return Figure(name, workload, title, unit, "higher", meaning, goals)


FIGURES = (
    _lower("startup_ms", "startup", "Start to first kernel_info reply", "ms",
           "From the start of the process until the first `kernel_info_reply`; asked every 100 ms until it comes.",
           Goal("best", 0.5)),
    _lower("first_result_ms", "startup", "Start to first result", "ms",
           "From the start of the process until the reply to a first cell, `1+1`, which is sent after that.",
           Goal("best", 0.85)),
    _lower("idle_rss_mb", "idle", "Memory, idle", "MB",
           "Resident memory of the kernel and its children after the first cell.", Goal("best", 1.0)),
    _lower("idle_cpu_pct", "idle", "Processor, idle", "%",
           "Processor time during 4 s in which nothing is asked; the system counts in steps of 0.25 %.",
           Goal("median", 0.0)),
    _lower("info_shell_us", "info_rtt", "kernel_info round trip, shell", "µs",
           "From sending a `kernel_info_request` to its reply.", Goal("best", 0.9), Goal("echo", 1.5)),
    _lower("info_control_us", "info_rtt", "kernel_info round trip, control", "µs", "The same on the control channel.",
           Goal("best", 0.9), Goal("echo", 1.5)),
    _lower("exec_us", "exec_rtt", "Round trip of a cell `pass`", "µs",
           "From sending an `execute_request` until both its reply and its idle are there.", Goal("best", 0.35)),
    _higher("exec_pipelined_per_s", "exec_pipelined", "Cells, 500 queued", "cells/s",
            "500 cells are sent at once; until the last reply and idle. All replies must say ok, in order.",
            Goal("best", 2.5)),
    _higher("print_lines_per_s", "print_lines", "100,000 printed lines", "lines/s",
            "One cell prints 100,000 lines; until its idle. Every line must be there, in order.", Goal("best", 5.0)),
    _lower("print_latency_ms", "first_print", "From `print` to the first byte", "ms",
           "From `print` in a cell that keeps running until the text is with the client.", Goal("median", 5.0)),
    _higher("display_per_s", "display", "2,000 display_data", "messages/s",
            "One cell displays an HTML object 2,000 times; until its idle. Every message must be there.",
            Goal("best", 1.5)),
    _lower("comm_rtt_us", "comm_rtt", "Comm echo round trip", "µs",
           "A `comm_msg` to a comm that a cell has opened, and which sends its data back.", Goal("best", 0.5)),
    _higher("comm_per_s", "comm_pipelined", "Comm echoes, 2,000 queued", "messages/s",
            "2,000 comm messages are sent at once; until the last echo. All must come, in order.", Goal("best", 5.0)),
    _higher("comm_buffer_mb_per_s", "comm_buffers", "Comm echo of a 16 MB buffer", "MB/s",
            "A buffer of 16 MB there and back; both directions count. Every byte must be the same.", Goal("best", 1.5)),
    _lower("comm_awaiting_ms", "comm_awaiting", "Comm echo while a cell awaits", "ms",
           "The round trip of a small message while a cell awaits `asyncio.sleep`."),
    _lower("control_busy_ms", "busy_python", "Control while Python is busy", "ms",
           "`kernel_info_request` on control while a cell loops in Python for 6 s."),
    _lower("complete_busy_ms", "busy_python", "Completion while Python is busy", "ms",
           "A `complete_request` while that cell loops."),
    _lower("control_gil_ms", "busy_gil", "Control while the GIL is held", "ms",
           "`kernel_info_request` on control while one call into C holds the GIL for seconds, up to 200 times, every "
           "5 ms. A kernel that does not answer until the call is over has one sample.", Goal("p99", 2.0)),
    _lower("heartbeat_gil_ms", "busy_gil", "Heartbeat while the GIL is held", "ms",
           "The heartbeat during the same call, sent together with each request on control.", Goal("p99", 2.0)),
    _lower("interrupt_loop_ms", "interrupt_loop", "Interrupt of `while True: pass`", "ms",
           "From the interrupt (request or SIGINT, as the kernelspec asks) to the reply of the cell, an error.",
           Goal("median", 30.0)),
    _lower("interrupt_sleep_ms", "interrupt_sleep", "Interrupt of `time.sleep`", "ms", "The same for `time.sleep(60)`.",
           Goal("median", 30.0)),
    _lower("interrupt_await_ms", "interrupt_await", "Interrupt of `await asyncio.sleep`", "ms",
           "The same for `await asyncio.sleep(20)`.",
           Goal("median", 30.0)),
    _lower("tasks_200_s", "tasks", "200 cells `# task` that await 0.05 s", "s",
           "All are sent at once; until the last reply. callboard and async-kernel run them at the same time, for the "
           "others the first line is a comment."),
    _lower("threads_50_s", "threads", "50 cells `# thread` that sleep 0.05 s", "s",
           "The same with cells that run in threads: `time.sleep(.05)`."),
    _lower("subshell_ms", "subshell", "Subshell while the main shell sleeps", "ms",
           "From sending `1+1` to a subshell to its reply, while the main shell is in `time.sleep`."),
    _lower("complete_us", "complete", "Completion round trip", "µs",
           "`complete_request` for `os.path.jo`, until its reply, which must have `join` in it.", Goal("best", 0.8)),
    _higher("big_output_mb_per_s", "big_output", "64 MB printed", "MB/s",
            "One `print` of a string of 64 MB; until the idle. Every character must be there.", Goal("best", 1.5)),
    _lower("big_output_peak_mb", "big_output", "Peak memory of 64 MB printed", "MB",
           "The most resident memory that the kernel has had until then, the string itself included.",
           Goal("best", 0.8)),
    _lower("shutdown_ms", "shutdown", "Shutdown", "ms",
           "From the `shutdown_request`, after all the work above, to the end of the process.", Goal("best", 0.3)),
)  # fmt: skip

BY_NAME = {figure.name: figure for figure in FIGURES}


def of_workload(workload: str) -> list[Figure]:
    """The figures that this workload measures."""
    return [figure for figure in FIGURES if figure.workload == workload]
