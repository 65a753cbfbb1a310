"""Published messages are never lost, cut or out of order, under any amount of output and with slow clients."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest
import zmq
from jupyter_client.session import Session
from support import TIMEOUT, Deadline, parent_id, without_colours

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client, Kernel, Run

THREADS, LINES_OF_A_THREAD = 8, 75_000
TASKS, LINES_OF_A_TASK = 50, 8_000

THREADS_CELL = f"""
import sys, threading
from IPython.display import display

def work(thread):
    for n in range({LINES_OF_A_THREAD}):
        print(thread, n, file=sys.stderr if n % 100 == 0 else sys.stdout)
        if n % 2_500 == 0:
            display({{"application/json": [thread, n]}}, raw=True)
    raise ValueError(f"the error of {{thread}}")

threads = [threading.Thread(target=work, args=[n], name=f"number {{n}}") for n in range({THREADS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("all threads", THREADS_ARE_DONE := len(threads))
"""

TASK_CELL = """# task
import asyncio, sys
from IPython.display import display
for n in range(LINES_OF_A_TASK):
    print(n, file=sys.stderr if n % 100 == 0 else sys.stdout)
    if n % 500 == 0:
        display({"application/json": [TASK, n]}, raw=True)
        await asyncio.sleep(0)
raise ValueError("the error of TASK")
""".replace("LINES_OF_A_TASK", str(LINES_OF_A_TASK))

#: Prints without end, more than all buffers on the way can take.
FLOOD = "import sys\nfor n in range({count}):\n    print(str(n) * {width})\nprint('the end', file=sys.stderr)"


def outputs(run: Run) -> list[tuple[str, str | list[int]]]:
    """The outputs of a cell, in order: ``(stream, line)`` and ``("display", data)``. A line that comes in several
    messages is one, where its end comes, if nothing of the same stream is in between."""
    shown: list[tuple[str, str | list[int]]] = []
    begun = {"stdout": "", "stderr": ""}
    for message in run.messages:
        content = message["content"]
        if message["msg_type"] == "stream":
            *lines, rest = (begun[content["name"]] + content["text"]).split("\n")
            shown += [(content["name"], line) for line in lines]
            begun[content["name"]] = rest
        elif message["msg_type"] == "display_data":
            shown.append(("display", content["data"]["application/json"]))
    assert begun == {"stdout": "", "stderr": ""}
    return shown


def stream_of(n: int) -> str:
    return "stderr" if n % 100 == 0 else "stdout"


def test_a_million_lines_of_threads_and_tasks_are_complete_whole_and_in_order(client: Client) -> None:
    threads = client.execute(THREADS_CELL)
    tasks = [client.execute(TASK_CELL.replace("TASK", str(n)), stop_on_error=False) for n in range(TASKS)]

    run = client.finish(threads, timeout=2 * TIMEOUT)
    assert run.status == "ok"
    assert run.types[:2] == ["busy", "execute_input"]
    assert run.types[-1] == "idle"
    counts: Counter[int] = Counter()
    tracebacks = []
    for kind, what in outputs(run):
        if kind == "display":
            thread, n = what
            assert counts[thread] == n + 1, "a display follows the line that was printed before it"
        elif re.fullmatch(r"\d+ \d+", what):
            thread, n = map(int, what.split())
            assert (kind, n) == (stream_of(n), counts[thread])
            counts[thread] += 1
        else:
            tracebacks.append(what)
    assert counts == dict.fromkeys(range(THREADS), LINES_OF_A_THREAD)
    text = without_colours("\n".join(tracebacks))
    for n in range(THREADS):
        assert text.count(f"ValueError: the error of {n}\n") == 1
    assert text.endswith(f"all threads {THREADS}")

    for number, msg_id in enumerate(tasks):
        run = client.finish(msg_id)
        expected = []
        for n in range(LINES_OF_A_TASK):
            expected.append((stream_of(n), str(n)))
            if n % 500 == 0:
                expected.append(("display", [number, n]))
        assert outputs(run) == expected
        assert run.error["evalue"] == f"the error of {number}"
        assert run.types[-2:] == ["error", "idle"]


def test_output_keeps_its_order_when_it_comes_from_everywhere(client: Client) -> None:
    code = (
        "import os, sys, subprocess\nfrom IPython.display import display\n"
        "for n in range(50):\n"
        "    print(n, 'out')\n    print(n, 'err', file=sys.stderr)\n    os.write(1, b'%d fd\\n' % n)\n"
        "    display({'application/json': [n]}, raw=True)\n"
        "    if n % 10 == 0:\n        _ = subprocess.run(['echo', str(n), 'child'])\n"
    )
    run = client.run(code)
    expected: list[tuple[str, str | list[int]]] = []
    for n in range(50):
        expected += [("stdout", f"{n} out"), ("stderr", f"{n} err"), ("stdout", f"{n} fd"), ("display", [n])]
        if n % 10 == 0:
            expected.append(("stdout", f"{n} child"))
    assert outputs(run) == expected


# -- clients that do not read ---------------------------------------------------------------------------


class Stuck:
    """A subscriber with small buffers that does not read."""

    def __init__(self, client: Client) -> None:
        self.client = client
        info = client.kc.get_connection_info()
        self.session = Session(key=info["key"])
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.rcvhwm = 1
        self.socket.rcvbuf = 16 * 1024
        self.socket.subscribe(b"")
        self.socket.connect(f"tcp://{info['ip']}:{info['iopub_port']}")
        assert self.next()["msg_type"] == "iopub_welcome"

    def next(self) -> dict:
        # The other client goes on reading.
        deadline = Deadline()
        while not self.socket.poll(10):
            deadline.left("a message for the subscriber that was stuck")
            self.client.read_iopub()
        _, frames = self.session.feed_identities(self.socket.recv_multipart())
        return self.session.deserialize(frames)

    def until_idle(self, msg_id: str) -> list[dict]:
        """Reads again, up to the end of a request."""
        messages = []
        while True:
            messages.append(self.next())
            if parent_id(messages[-1]) == msg_id and messages[-1]["content"].get("execution_state") == "idle":
                return messages

    def __enter__(self) -> Stuck:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def test_a_client_that_does_not_read_slows_a_cell_and_costs_nothing(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel("--subscriber-patience=1000")
    with kernel.connect() as client, Stuck(client) as stuck:
        memory = psutil.Process(kernel.process.pid).memory_info().rss
        msg_id = client.execute(FLOOD.format(count=30_000, width=1000))
        # The cell waits, but requests that need the GIL are served.
        client.wait_text("20" * 1000, msg_id)
        client.read_iopub()
        for _ in range(20):
            assert client.ask("complete_request", {"code": "pri", "cursor_pos": 3})["status"] == "ok"
        assert not client.replied(msg_id)
        text = "".join(
            m["content"]["text"]
            for m in stuck.until_idle(msg_id)
            if m["msg_type"] == "stream" and m["content"]["name"] == "stdout"
        )
        assert text == "".join(str(n) * 1000 + "\n" for n in range(30_000))
        assert client.finish(msg_id).stdout == text
        assert psutil.Process(kernel.process.pid).memory_info().rss < memory + 250e6


def test_output_for_a_client_that_is_stuck_is_dropped_with_a_notice_and_no_status_is(
    start_kernel: Callable[..., Kernel],
) -> None:
    kernel = start_kernel("--subscriber-patience=0.2")
    with kernel.connect() as client, Stuck(client) as stuck:
        process = psutil.Process(kernel.process.pid)
        memory = process.memory_info().rss
        # It ends although one client never reads.
        flood = client.execute(FLOOD.format(count=200_000, width=1000))
        assert client.reply(flood, timeout=2 * TIMEOUT)["content"]["status"] == "ok"
        assert process.memory_info().rss < memory + 400e6
        cells = [client.execute(f"{n}") for n in range(200)]
        for msg_id in cells:
            assert client.reply(msg_id)["content"]["status"] == "ok"
        messages = stuck.until_idle(cells[-1])
        states = [(parent_id(m), m["content"]["execution_state"]) for m in messages if m["msg_type"] == "status"]
        for msg_id in [flood, *cells]:
            assert [state for parent, state in states if parent == msg_id] == ["busy", "idle"]
        run = client.finish(flood)
        assert "bytes of output were dropped here" in run.stderr
        dropped = sum(map(int, re.findall(r"callboard: (\d+) bytes of output", run.stderr)))
        # All that was printed was shown or is accounted for.
        printed = sum(len(str(n)) * 1000 + 1 for n in range(200_000)) + len("the end\n")
        notices = re.sub(r"\n\[callboard: \d+ bytes of output were dropped here, .* s\]\n", "", run.stderr)
        assert len(run.stdout) + len(notices) + dropped == printed
        # Nothing is dropped any more.
        assert client.run("print('x' * 1_000_000)").stdout == "x" * 1_000_000 + "\n"


def test_an_interrupt_ends_a_cell_that_waits_for_a_client_that_does_not_read(
    start_kernel: Callable[..., Kernel],
) -> None:
    kernel = start_kernel("--subscriber-patience=1000")
    with kernel.connect() as client, Stuck(client):
        msg_id = client.execute("n = 0\nwhile True:\n    print(str(n) * 1000)\n    n += 1")
        client.wait_text("20" * 1000, msg_id)
        assert client.ask("interrupt_request", channel="control") == {"status": "ok"}
        assert client.reply(msg_id)["content"]["ename"] == "KeyboardInterrupt"


# -- clients that have just come ------------------------------------------------------------------------


def test_every_new_subscriber_is_welcomed_also_to_a_topic_that_others_have(client: Client) -> None:
    info = client.kc.get_connection_info()
    sockets = []
    try:
        for topic in [b"", b"", b"kernel.", b"kernel."] * 5:
            socket = zmq.Context.instance().socket(zmq.SUB)
            sockets.append(socket)
            socket.linger = 0
            socket.rcvtimeo = int(TIMEOUT * 1000)
            socket.subscribe(topic)
            socket.connect(f"tcp://{info['ip']}:{info['iopub_port']}")
            frames = socket.recv_multipart()
            assert frames[0] == topic
            assert json.loads(frames[-1]) == {"subscription": topic.decode()}
    finally:
        for socket in sockets:
            socket.close()


@pytest.mark.parametrize("time", range(3))
def test_a_client_that_restarts_the_kernel_and_runs_all_cells_at_once_misses_nothing(
    kernel: Kernel, client: Client, time: int
) -> None:
    client.run(f"before = {time}")
    client.log.clear()
    kernel.manager.restart_kernel(now=time == 2)
    # It waits neither for a reply nor for a welcome.
    cells = [client.execute(f"print({n})\n{n}") for n in range(100)]
    for n, msg_id in enumerate(cells):
        run = client.finish(msg_id)
        assert run.types == ["busy", "execute_input", "stream", "execute_result", "idle"]
        assert (run.stdout, run.result) == (f"{n}\n", f"{n}")
    assert client.run("before").reply["ename"] == "NameError"
