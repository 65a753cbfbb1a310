"""A kernel with processes of the user's ends quickly, and runs the functions of atexit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Kernel

PRELUDE = """
import atexit, subprocess, sys, threading, time
import concurrent.futures as futures
atexit.register(lambda: open("at_exit", "w").close())
ready = threading.Event()
"""

#: What is left running, and whether the last cell waits for it.
CASES = {
    "busy process pool": (
        "pool = futures.ProcessPoolExecutor(2)\n"
        "calls = [pool.submit(time.sleep, 100) for _ in range(4)]\n"
        "while not calls[0].running(): time.sleep(0.01)",
        False,
    ),
    "busy process pool, waited for": (
        "pool = futures.ProcessPoolExecutor(2)\n"
        "calls = [pool.submit(time.sleep, 100) for _ in range(4)]\n"
        "while not calls[0].running(): time.sleep(0.01)\n"
        "print('started', flush=True)\n"
        "calls[0].result()",
        True,
    ),
    "pool with many calls": (
        "pool = futures.ProcessPoolExecutor(2)\n"
        "calls = [pool.submit(time.sleep, 0.5) for _ in range(400)]\n"
        "while not calls[0].running(): time.sleep(0.01)",
        False,
    ),
    "multiprocessing.Pool": (
        "import multiprocessing\npool = multiprocessing.Pool(2)\ncalls = pool.map_async(time.sleep, [100] * 4)",
        False,
    ),
    "multiprocessing.Process": (
        "import multiprocessing\nprocess = multiprocessing.Process(target=time.sleep, args=(100,))\nprocess.start()",
        False,
    ),
    "thread with a child": (
        "def run():\n"
        "    child = subprocess.Popen(['sleep', '100'], process_group=None)\n"
        "    ready.set()\n"
        "    child.wait()\n"
        "threading.Thread(target=run).start()\n"
        "ready.wait()",
        False,
    ),
    "thread pool with a child that ignores SIGINT": (
        "pool = futures.ThreadPoolExecutor(2)\n"
        "call = pool.submit(subprocess.run, ['sh', '-c', 'trap \"\" INT; sleep 100 & wait'])\n"
        "while not call.running(): time.sleep(0.01)",
        False,
    ),
    "cell of a thread with a child that ignores SIGINT": (
        "# thread\nprint('started', flush=True)\nsubprocess.run(['sh', '-c', 'trap \"\" INT; sleep 100 & wait'])",
        True,
    ),
    "child": ("child = subprocess.Popen(['sleep', '100'])", False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_end_is_quick_and_orderly(start_kernel: Callable[..., Kernel], case: tuple[str, bool]) -> None:
    code, is_waited_for = case
    # Long, so that it is not what ends the kernel.
    kernel = start_kernel("--shutdown-deadline=60")
    with kernel.connect() as client:
        client.run(PRELUDE)
        if is_waited_for:
            client.start(code)
        else:
            assert client.run(code).status == "ok"
        began = time.monotonic()
        client.ask("shutdown_request", {"restart": True}, channel="control")
        assert kernel.wait_end() == 0
    # 0.3 s on an idle machine.
    assert time.monotonic() - began < 10
    assert (kernel.folder / "at_exit").exists()


def test_functions_of_atexit_find_their_processes_alive(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel("--shutdown-deadline=60")
    with kernel.connect() as client:
        run = client.run(
            "import atexit, signal, subprocess, sys\n"
            "child = subprocess.Popen(\n"
            "    [sys.executable, '-c', 'import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); '\n"
            "     'print(1, flush=True); time.sleep(100)'], stdout=subprocess.PIPE)\n"
            "def end():\n"
            "    open('state', 'w').write(str(child.poll()))\n"
            "    child.kill(); child.wait()\n"
            "atexit.register(end)\n"
            "child.stdout.readline();"
        )
        assert run.status == "ok"
        client.ask("shutdown_request", {"restart": False}, channel="control")
        assert kernel.wait_end() == 0
    assert (kernel.folder / "state").read_text() == "None"
