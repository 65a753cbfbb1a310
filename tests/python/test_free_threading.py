"""Python without the GIL: cells compute at the same time, and what threads share stays whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support import FREE_THREADED

if TYPE_CHECKING:
    from support import Client

pytestmark = [
    pytest.mark.skipif(not FREE_THREADED, reason="this Python has the GIL"),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one processor"),
]

#: `play(me)` takes turns with `play(1 - me)`, and lets no other thread run: with the GIL, which nothing here releases
#: and nothing takes away, the two would wait for each other's turn for ever.
PLAY = """
import sys, threading
sys.setswitchinterval(1e6)
turn = [0]
def play(me):
    for _ in range(2000):
        while turn[0] != me:
            pass
        turn[0] = 1 - me
    return "played"
"""


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {"PYTHON_GIL": "0"}


def test_the_package_leaves_the_gil_off(client: Client) -> None:
    code = "import subprocess, sys; print(subprocess.run([sys.executable, '-X', 'gil=0', '-c', {!r}]).returncode)"
    check = "import sys, callboard; sys.exit(sys._is_gil_enabled())"
    # Without the variable, the import of a module that needs the GIL would switch it on.
    assert client.run(f"import os; os.environ.pop('PYTHON_GIL', 0)\n{code.format(check)}").stdout == "0\n"
    assert client.run("sys._is_gil_enabled()").result == "False"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("# thread\nplay(0)", "# thread\nplay(1)"),
        ("# thread\nplay(0)", "play(1)"),
        ("from callboard import Caller\nawait Caller().to_thread(play, 0)", "# thread\nplay(1)"),
        ("await asyncio.gather(Caller().to_thread(play, 0), Caller().to_thread(play, 1))", "'played'"),
    ],
    ids=["two threads", "a thread and the shell", "to_thread and a thread", "two of to_thread"],
)
def test_two_cells_compute_at_the_same_time(client: Client, first: str, second: str) -> None:
    client.run(f"import asyncio\nfrom callboard import Caller\n{PLAY}")
    cells = [client.execute(first), client.execute(second)]
    assert ["played" in (client.finish(cell).result or "") for cell in cells] == [True, True]


def test_two_subshells_compute_at_the_same_time(client: Client) -> None:
    client.run(PLAY)
    subshells = [client.ask("create_subshell_request", channel="control")["subshell_id"] for _ in range(2)]
    cells = [client.execute(f"play({n})", header={"subshell_id": subshell}) for n, subshell in enumerate(subshells)]
    assert [client.finish(cell).result for cell in cells] == ["'played'", "'played'"]


#: Calls, and generators that are left and entered again all the time: the stack is never the same.
BUSY = """
def call(depth):
    return call(depth - 1) + 1 if depth else 0

def generate():
    for _ in range(30):
        yield from (call(n) for n in range(5))

def compute():
    print("begun")
    while True:
        for _ in generate():
            call(20)
"""


@pytest.mark.parametrize("code", ["# thread\ncompute()", "await Caller().to_thread(compute)"])
def test_what_computes_in_a_thread_is_interrupted_each_time(client: Client, code: str) -> None:
    client.run(f"from callboard import Caller\n{BUSY}")
    for _ in range(100):
        cell = client.execute(code)
        client.wait_text("begun", cell)
        client.ask("interrupt_request", channel="control")
        assert client.finish(cell).error["ename"] == "KeyboardInterrupt"


def test_what_computes_in_a_subshell_is_interrupted_each_time(client: Client) -> None:
    client.run(BUSY)
    subshell = {"subshell_id": client.ask("create_subshell_request", channel="control")["subshell_id"]}
    for _ in range(100):
        cell = client.execute("compute()", header=subshell)
        client.wait_text("begun", cell)
        client.ask("interrupt_request", channel="control", header=subshell)
        assert client.finish(cell).error["ename"] == "KeyboardInterrupt"


#: What runs in eight threads at once. Each function gets the number of its thread and returns how much was right.
STRESS = """
import threading
from comm import create_comm, get_comm_manager
from IPython.display import display
from callboard import Caller, Pending

THREADS, ROUNDS = 8, 300
main = Caller()

def prints(me):
    for n in range(ROUNDS): print(me, n)
    return ROUNDS

def displays(me):
    for n in range(ROUNDS): display({"application/json": [me, n]}, raw=True)
    return ROUNDS

pens = [[Pending() for _ in range(ROUNDS)] for _ in range(THREADS)]
def pendings(me):
    mine, others = pens[me], pens[(me + 1) % THREADS]
    right = 0
    for n in range(ROUNDS):
        mine[n].set_result((me, n))
        right += others[n].wait_sync(timeout=60) == ((me + 1) % THREADS, n)
    return right

counted = 0
def count():
    global counted
    # Calls of one Caller run one after another.
    counted += 1
    return counted

def calls(me):
    made = [main.call_soon(count) for n in range(ROUNDS)]
    results = [pen.wait_sync(timeout=60) for pen in made]
    return sum(a < b for a, b in zip([0, *results], results))

def comms(me):
    for n in range(ROUNDS // 10):
        comm = create_comm(target_name=f"target {me}", data={"n": n})
        comm.send({"n": n})
        comm.close()
    return ROUNDS

def histories(me):
    history = get_ipython().history_manager
    for n in range(ROUNDS):
        history.store_inputs(1000 + me * ROUNDS + n, f"{me} {n}")
    kept = history.input_hist_raw
    return sum(kept[1000 + me * ROUNDS + n] == f"{me} {n}" for n in range(ROUNDS))

def threads_of_their_own(me):
    caller = Caller("NewThread", name=f"worker {me}")
    right = sum(caller.call_soon(lambda n=n: n).wait_sync(timeout=60) == n for n in range(ROUNDS))
    caller.stop()
    return right

async def all_at_once(function):
    barrier, results = threading.Barrier(THREADS), [None] * THREADS
    def work(me):
        barrier.wait(60)
        try:
            results[me] = function(me)
        except BaseException as error:
            results[me] = error
    threads = [threading.Thread(target=work, args=[me]) for me in range(THREADS)]
    for thread in threads: thread.start()
    for thread in threads: await main.to_thread(thread.join)
    return [result for result in results if result != ROUNDS]
"""


@pytest.mark.parametrize(
    "function", ["prints", "displays", "pendings", "calls", "comms", "histories", "threads_of_their_own"]
)
def test_what_threads_share_stays_whole(client: Client, function: str) -> None:
    client.run(STRESS)
    run = client.run(f"await all_at_once({function})")
    assert (run.result, run.stderr) == ("[]", "")
    if function == "prints":
        lines = run.stdout.splitlines()
        assert sorted(lines) == sorted(f"{me} {n}" for me in range(8) for n in range(300))
    if function == "displays":
        shown = [content["data"]["application/json"] for content in run.contents("display_data")]
        assert [[n for them, n in shown if them == me] for me in range(8)] == [list(range(300))] * 8
    if function == "comms":
        ids = [content["comm_id"] for content in run.contents("comm_open")]
        assert len(set(ids)) == len(ids) == 240
        assert (
            client.run(
                "len([c for c in get_comm_manager().comms.values() if c.target_name.startswith('target')])"
            ).result
            == "0"
        )
    assert client.run("'alive'").result == "'alive'"
