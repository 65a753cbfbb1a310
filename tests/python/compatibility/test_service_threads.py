"""Output of threads that serve later cells: those that a library starts, and those that opt out."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client, Kernel


@pytest.fixture(scope="module")
def python() -> str:
    """One environment: nothing here asks whether ipykernel is installed."""
    return sys.executable


#: A library whose service calls functions in a thread of its own.
SERVICE = """
import queue
import threading

class Service:
    def __init__(self):
        self.calls = queue.Queue()
        self.done = queue.Queue()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self):
        while True:
            self.calls.get()()
            self.done.put(None)

    def call(self, function):
        self.calls.put(function)
        self.done.get()

def start():
    service = Service()
    service.thread.start()
    return service

class Worker(threading.Thread):
    \"\"\"Overrides what starts it.\"\"\"

    def start(self):
        super().start()
"""


@pytest.fixture
def library(kernel: Kernel, client: Client) -> str:
    """A module in a folder of packages, which the kernel can import."""
    folder = Path(kernel.folder) / "packages"
    folder.mkdir(exist_ok=True)
    (folder / "service_of_a_library.py").write_text(SERVICE)
    client.run(
        "import sys\n"
        "from callboard.util import origins\n"
        f"origins.PACKAGES = (*origins.PACKAGES, {str(folder)!r} + '/')\n"
        f"sys.path.append({str(folder)!r})\n"
        "import service_of_a_library as library"
    )
    return str(folder)


@pytest.mark.usefixtures("library")
def test_a_thread_that_a_library_has_started_prints_into_its_cell_and_then_into_the_one_that_runs(
    client: Client,
) -> None:
    first = client.run("service = library.start()\nservice.call(lambda: print('first'))")
    second = client.run("service.call(lambda: (print('second'), display('shown')))")
    assert (first.stdout, second.stdout) == ("first\n", "second\n")
    assert len(second.contents("display_data")) == 1


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "start",
    [
        "thread = threading.Thread(target=work); thread.start()",
        "thread = threading.Timer(0, work); thread.start()",
        "thread = library.Worker(target=work); thread.start()",
        "thread = type('Mine', (threading.Thread,), {'run': lambda self: work()})(); thread.start()",
    ],
)
def test_a_thread_that_a_cell_starts_for_itself_prints_into_that_cell(client: Client, start: str) -> None:
    first = client.execute(f"import threading\ngo = threading.Event()\ndef work(): go.wait(); print('mine')\n{start}")
    client.finish(first)
    second = client.run("go.set(); thread.join()")
    assert second.stdout == ""
    client.wait_text("mine\n", first)


def test_the_workers_of_a_thread_pool_print_into_the_cell_that_gives_them_work(client: Client) -> None:
    client.run("from multiprocessing.pool import ThreadPool\npool = ThreadPool(2)")
    assert client.run("_ = pool.map(print, ['a'])").stdout == "a\n"
    assert client.run("_ = pool.map(print, ['b']); pool.close()").stdout == "b\n"


def test_a_log_listener_prints_into_the_cell_that_logs(client: Client) -> None:
    client.run(
        textwrap.dedent("""
            import logging, logging.handlers, queue, sys
            class Printer(logging.Handler):
                def emit(self, record): print(record.getMessage())
            waiting = queue.Queue()
            listener = logging.handlers.QueueListener(waiting, Printer())
            log = logging.getLogger("of the test")
            log.addHandler(logging.handlers.QueueHandler(waiting))
            listener.start()
            log.warning("one")
            waiting.join()
        """)
    )
    assert client.run("log.warning('two'); waiting.join()").stdout == "two\n"
    client.run("listener.stop()")


def test_a_thread_opts_out(client: Client) -> None:
    start = (
        "import queue, threading\n"
        "from callboard.utils import released_output\n"
        "calls, done = queue.Queue(), queue.Queue()\n"
        "def serve():\n"
        "    while True: calls.get()(); done.put(0)\n"
        "with released_output():\n"
        "    threading.Thread(target=serve, daemon=True).start()\n"
        "print('here')"
    )
    assert client.run(start).stdout == "here\n"
    assert client.run("calls.put(lambda: print('served')); _ = done.get()").stdout == "served\n"


def test_a_thread_opts_out_as_ipyparallel_does(client: Client) -> None:
    """https://github.com/ipython/ipykernel/issues/1289"""
    client.run(
        "import queue, sys, threading\n"
        "calls, done = queue.Queue(), queue.Queue()\n"
        "def serve():\n"
        "    for stream in (sys.stdout, sys.stderr):\n"
        "        for name in ('_thread_to_parent', '_thread_to_parent_header'):\n"
        "            mapping = getattr(stream, name, None)\n"
        "            if mapping: mapping.pop(threading.get_ident(), None)\n"
        "    while True: calls.get()(); done.put(0)\n"
        "threading.Thread(target=serve, daemon=True).start()"
    )
    assert client.run("calls.put(lambda: print('served')); _ = done.get()").stdout == "served\n"
