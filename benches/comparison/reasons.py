"""Reasons for goals that are not met: where the time goes, as the limits and profiles show."""

#: By figure.
REASONS: dict[str, str] = {
    "first_result_ms": (
        "most of it is a Python that starts IPython's shell and executes `1+1` (in the table of the limits), which no "
        "kernel with IPython can do without. The rest is asyncio, callboard's own modules, the reading of the "
        "configuration and the first reply; `python -X importtime -m callboard` shows how it is spread. What needs no "
        "Python is answered long before: see the first row."
    ),
    "info_shell_us": "the bare echo, which does nothing but send the request back, is about as fast.",
    "info_control_us": (
        "the bare echo, which does nothing but send the request back, needs most of that time: what is left is one "
        "thread that wakes another, for the status messages that every request has."
    ),
    "exec_us": (
        "what the threads need for a cell, one after the other for the most part, adds up to the round trip "
        "(*processor time of a cell that comes alone*). The largest part is the client's, which is the same for every "
        "kernel; the next is that of IPython, whose code takes longer after a pause, with cold caches, than in a loop "
        "(`run_cell`). What is left are the sockets and the handing over: one thread serves the sockets and another "
        "runs Python, so that the one never waits for the other, and each has to be woken. Counts per cell are bounded "
        "by tests (`tests/python/test_counts.py`, `tests/counts.rs`)."
    ),
    "exec_pipelined_per_s": (
        "two processors are busy all the time: what the kernel's threads and the client need for a cell, together "
        "(*processor time of one of 500 queued cells*), is nearly twice what passes for each. The largest parts are "
        "IPython in the main thread, and the client."
    ),
    "comm_rtt_us": (
        "the bare echo of a comm message takes more than the goal leaves to anybody. xeus-python runs its handler on "
        "the thread that reads the socket, which saves two changes of thread, and costs what the rows about a busy "
        "kernel show."
    ),
    "comm_per_s": "the goal is above the bare echo: libzmq and the client do not get there without any kernel.",
    "comm_buffer_mb_per_s": (
        "the goal is above the bare echo. 16 MB go twice through TCP on the same machine, and twice through the client."
    ),
    "complete_us": (
        "IPython and jedi alone, in one process and in a loop, take most of that time; they answer the same question "
        "for every kernel here, in the same way (`IPCompleter.completions`), so that none can be much ahead. Their "
        "profile (`python -m cProfile`) is flat: jedi makes a name of every attribute of "
        "the module before it looks which ones fit. To keep what it found for the next time is not an option: it would "
        "not see what cells change."
    ),
    "big_output_peak_mb": (
        "the string itself, its text as JSON, and what the sockets hold until the client has read it are all in memory "
        "at once."
    ),
    "shutdown_ms": (
        "half of it is one full collection of garbage, which IPython does when it resets its namespace: jedi's syntax "
        "trees are most of what it looks at. It runs the finalizers of the user's objects, so it stays."
    ),
}
