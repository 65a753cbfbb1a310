"""One kernel, and the clients that work on it until the time is up."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from jupyter_client.connect import write_connection_file

from soaking.client import TIMEOUT, Client, expect
from soaking.sample import Sample
from soaking.work import ALONE, SETUP, SHARED

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

#: A client opens a new connection after this many pieces of work.
PER_CONNECTION = 40


class Turns:
    """A readers-writer lock: many clients share the kernel, or one has it alone for work that disturbs others."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._sharing = 0
        self._alone = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: not self._alone)
            self._sharing += 1
        try:
            yield
        finally:
            with self._condition:
                self._sharing -= 1
                self._condition.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: not self._alone)
            self._alone = True
            self._condition.wait_for(lambda: not self._sharing)
        try:
            yield
        finally:
            with self._condition:
                self._alone = False
                self._condition.notify_all()


class Soak:
    """A kernel, its clients, their counts and the samples."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.seconds = options.seconds
        self.connection_file = str(folder / "connection.json")
        write_connection_file(self.connection_file, ip="127.0.0.1", key=os.urandom(16).hex().encode())
        start = [sys.executable, "-m", "callboard"]
        if options.binary:
            start = [options.binary, "--python", sys.executable]
        self.terminal = folder / "terminal.txt"
        env = {**os.environ, "IPYTHONDIR": str(folder / "ipython")}
        env.pop("JPY_PARENT_PID", None)
        with self.terminal.open("wb") as terminal:
            self.kernel = subprocess.Popen(
                [*start, "-f", self.connection_file, *options.kernel_options],
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=terminal,
                env=env,
                cwd=folder,
                start_new_session=True,
            )
        self.turns = Turns()
        self.works: list[Counter[str]] = []
        self.counts: list[Counter[str]] = []
        self.problems: list[str] = []
        self.samples: list[Sample] = []
        self.stopped = threading.Event()
        self.begun = time.monotonic()

    def run(self) -> None:
        """Works for the given time, then ends the kernel."""
        client = self.connect()
        expect("set-up", client.reply(client.execute(SETUP))["status"], "ok")
        client.close()
        self.begun = time.monotonic()
        threads = [threading.Thread(target=self.be_client, args=(n,), daemon=True) for n in range(self.options.clients)]
        for thread in threads:
            thread.start()
        every = max(0.5, self.seconds / 90)
        while not self.stopped.wait(max(0.0, min(every, self.left()))) and self.left() > 0:
            self.sample()
        self.stopped.set()
        for thread in threads:
            thread.join(2 * TIMEOUT)
        if self.kernel.poll() is None:
            self.sample()
        self.end()

    def left(self) -> float:
        """Seconds left."""
        return self.begun + self.seconds - time.monotonic()

    def connect(self) -> Client:
        counts = Counter[str]()
        self.counts.append(counts)
        return Client(self.connection_file, counts)

    def be_client(self, number: int) -> None:
        """Does one piece of work after the other; each client begins with another one."""
        client, work = None, Counter[str]()
        self.works.append(work)
        pieces = itertools.cycle((*SHARED, ALONE[number % len(ALONE)]))
        try:
            for piece in itertools.islice(pieces, number * 2, None):
                if self.stopped.is_set():
                    return
                with self.turns.alone() if piece in ALONE else self.turns.shared():
                    client = client or self.connect()
                    piece(client)
                    work[piece.__name__] += 1
                    if work.total() % PER_CONNECTION == 0:
                        client.close()
                        client = None
        except Exception as problem:  # noqa: BLE001 told at the end
            told = f" (the last error: {client.last_error})" if client and client.last_error else ""
            self.problems.append(f"client {number}: {type(problem).__name__}: {problem}{told}")
            self.stopped.set()
        finally:
            if client:
                client.close()

    def sample(self) -> None:
        """Measures the kernel while it has nothing to do."""
        with self.turns.alone():
            if self.kernel.poll() is None:
                sample = Sample.take(self.kernel.pid, time.monotonic() - self.begun)
                client = self.connect()
                expect("status", client.reply(client.execute("_give_back()"))["status"], "ok")
                client.close()
                sample.used = Sample.take(self.kernel.pid, 0).anonymous
                self.samples.append(sample)
                if self.options.verbose:
                    print(self.samples[-1], flush=True)

    def end(self) -> None:
        """Shuts the kernel down, and checks its exit code and terminal."""
        if self.kernel.poll() is None and not self.problems:
            client = self.connect()
            reply = client.reply(client.send("shutdown_request", {"restart": False}, "control"), "control")
            expect("shutdown", reply["status"], "ok")
            client.close()
        try:
            code = self.kernel.wait(5 if self.problems else TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kernel.kill()
            code = self.kernel.wait()
        if code:
            self.problems.append(f"the kernel ended with exit code {code}")
        said = self.terminal.read_text(errors="replace").strip()
        if said:
            self.problems.append(f"the kernel wrote to its terminal: {said[:2000]}")
