"""Signals of all kinds, to any thread: interrupts are still noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client

#: Sends a signal to each thread of the kernel that is not Python's main one, as the system may do.
POKE = """
import ctypes, os, signal, threading, time
libc = ctypes.CDLL(None, use_errno=True)
heard = []
_ = signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
def poke():
    for tid in map(int, os.listdir('/proc/self/task')):
        if tid != os.getpid():
            libc.tgkill(os.getpid(), tid, int(signal.SIGUSR1))
"""

#: Another thread gets SIGINT: nothing but the kernel's watch cuts the sleep of the main thread short.
BESIDE = (
    "def send():\n    time.sleep(0.05)\n    signal.pthread_kill(threading.get_ident(), signal.SIGINT)\n"
    "threading.Thread(target=send).start()\ntime.sleep(100)"
)


@pytest.mark.skipif("sys.platform != 'linux'", reason="threads are found in /proc")
def test_signals_that_hit_the_kernels_threads_do_no_harm(client: Client) -> None:
    assert client.run(POKE + "for _ in range(20):\n    poke()\n    time.sleep(0.001)").status == "ok"
    assert client.run(BESIDE, timeout=20).reply["ename"] == "KeyboardInterrupt"
    # Output of C code and the control thread go on as well.
    assert client.run("os.write(1, b'shown\\n');").stdout == "shown\n"
    assert client.ask("usage_request", channel="control")["status"] == "ok"
