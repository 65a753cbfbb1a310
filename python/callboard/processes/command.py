"""Runs commands that end with all their processes.

A command blocks the calling thread: `callboard.processes.thread_job` keeps it off the event loop.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from .process_tree import ProcessTree
from .thread_job import RETURN_TIMEOUT, current_job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Write = Callable[[str], Any]

#: The signals that end a command, in this order, and how long it has to end after each, seconds.
ESCALATION = ((signal.SIGINT, 0.5), (signal.SIGTERM, 0.5), (signal.SIGKILL, 1.0))

#: Seconds between two checks whether the processes have ended.
_POLL_INTERVAL = 0.01

#: Acquires the terminal for the session (Linux), then executes the program.
_WITH_TERMINAL = '{ true <"$0"; } 2>/dev/null; exec "$@"'


def run(
    argv: Sequence[str],
    stdout: Write,
    stderr: Write | None = None,
    *,
    stdin: bytes = b"",
    terminal: bool = False,
    encoding: str = "utf-8",
) -> int:
    """Runs a program to its end. Returns its exit code, or the negative number of the signal that ended it.

    Passes its output on as it comes; without `stderr`, all of it to `stdout`. With `terminal`, its input and
    output are a terminal. Its input ends at once: a command that asks would wait for an answer that cannot be given.

    Raises ``OSError`` if it cannot be started, ``KeyboardInterrupt`` when it has been stopped. The latter also when a
    SIGINT has ended it, as a shell does: until it is in a session of its own, it gets the SIGINT of the kernel's
    process group, and can end before the kernel stops it.
    """
    job = current_job()
    command = Command(argv, stdout, stderr, stdin=stdin, terminal=terminal, encoding=encoding)
    with contextlib.nullcontext() if job is None else job.running(command):
        code = command.run()
    if code == -signal.SIGINT:
        raise KeyboardInterrupt
    return code


class _Output:
    """One output stream of a command: reads a descriptor, decodes, and passes the text on."""

    def __init__(self, fd: int, write: Write, encoding: str) -> None:
        self.fd = fd
        self._write = write
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def forward(self) -> bool:
        """Passes on what can be read now. Returns False at the end."""
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: all processes have closed the terminal
            data = b""
        text = self._decoder.decode(data, final=not data)
        if text:
            self._write(text)
        return bool(data)


class Command:
    """A program that runs in a session of its own."""

    def __init__(
        self,
        argv: Sequence[str],
        stdout: Write,
        stderr: Write | None,
        *,
        stdin: bytes,
        terminal: bool,
        encoding: str,
    ) -> None:
        self._argv = list(argv)
        self._writes = [stdout] if stderr is None else [stdout, stderr]
        self._stdin = stdin
        self._terminal = terminal
        self._encoding = encoding
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._processes = ProcessTree(0)
        self._files = contextlib.ExitStack()
        self._outputs: list[_Output] = []
        self._ended = False
        #: The write end of the pipe that ends `_communicate`.
        self._wake_write: int | None = None

    def run(self) -> int:
        """Runs it to its end, on the calling thread."""
        with self._files:
            with self._lock:
                if self._ended:
                    raise KeyboardInterrupt
                process = self._process = self._start()
            _running.add(self)
            try:
                self._communicate()
                return process.wait(RETURN_TIMEOUT if self._ended else None)
            except subprocess.TimeoutExpired:
                return -signal.SIGKILL
            except BaseException:
                self.end()
                raise
            finally:
                _running.discard(self)
                with self._lock:
                    self._wake_write = None

    # -- start ------------------------------------------------------------------------------------------

    def _start(self) -> subprocess.Popen[bytes]:
        self._wake_read, self._wake_write = self._pipe()
        process = self._start_in_terminal() if self._terminal else self._start_with_pipes()
        self._processes = ProcessTree(process.pid)
        return process

    def _start_with_pipes(self) -> subprocess.Popen[bytes]:
        stderr = subprocess.PIPE if len(self._writes) > 1 else subprocess.STDOUT
        process = self._popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        for file in (process.stdin, process.stdout, process.stderr):
            if file is not None:
                self._files.callback(file.close)
        streams = [file for file in (process.stdout, process.stderr) if file is not None]
        self._outputs = [
            _Output(file.fileno(), write, self._encoding) for file, write in zip(streams, self._writes, strict=True)
        ]
        return process

    def _start_in_terminal(self) -> subprocess.Popen[bytes]:
        import termios

        ours, theirs = os.openpty()
        self._files.callback(os.close, ours)
        try:
            termios.tcsetwinsize(theirs, (24, 80))
            # What Ctrl-D sends: the end of the input for a program that reads a line. (Once: one that goes on waits.)
            os.write(ours, b"\x04")
            argv = self._argv
            options: dict[str, Any] = {}
            if sys.platform == "linux":
                # No preexec_fn: Python uses vfork then, which copies nothing of a large process.
                argv = ["/bin/sh", "-c", _WITH_TERMINAL, os.ttyname(theirs), *argv]
            else:
                options["preexec_fn"] = _acquire_terminal
            process = self._popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, **options)
        finally:
            os.close(theirs)
        self._outputs = [_Output(ours, self._writes[0], self._encoding)]
        return process

    def _popen(self, argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        # Children inherit the signals that the thread blocks.
        mask = signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            return subprocess.Popen(argv, bufsize=0, start_new_session=True, **options)
        except OSError as error:
            raise error.with_traceback(None) from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _pipe(self) -> tuple[int, int]:
        reading, writing = os.pipe()
        self._files.callback(os.close, reading)
        self._files.callback(os.close, writing)
        return reading, writing

    # -- input and output -------------------------------------------------------------------------------

    def _communicate(self) -> None:
        """Passes input and output on. Returns when it has closed its output, or when the wake pipe was written to and
        nothing is left to read."""
        assert self._process is not None
        stdin, left = self._process.stdin, memoryview(self._stdin)
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            for output in self._outputs:
                selector.register(output.fd, selectors.EVENT_READ, output)
            if stdin is not None:
                os.set_blocking(stdin.fileno(), False)
                selector.register(stdin, selectors.EVENT_WRITE)
            reading = len(self._outputs)
            timeout: float | None = None
            while reading:
                ready = selector.select(timeout)
                if not ready and timeout is not None:
                    return
                for key, _ in ready:
                    if key.fd == self._wake_read:
                        timeout = 0
                        selector.unregister(self._wake_read)
                    elif isinstance(key.data, _Output):
                        if not key.data.forward():
                            selector.unregister(key.fd)
                            reading -= 1
                    elif not (left := _feed(key.fd, left)):
                        selector.unregister(stdin)  # type: ignore[arg-type]
                        stdin.close()  # type: ignore[union-attr]

    # -- end --------------------------------------------------------------------------------------------

    def end(self, hurry: threading.Event | None = None) -> None:
        """Ends all its processes by the signals of `ESCALATION`; by SIGKILL at once when `hurry` is set. Returns when
        they are gone, or after the last timeout."""
        hurry = hurry or threading.Event()
        with self._lock:
            self._ended = True
            if self._process is None:
                return
        for number, grace in ESCALATION:
            if hurry.is_set() and number != signal.SIGKILL:
                continue
            if not self._signal(number):
                break
            limit = time.monotonic() + grace
            while self._processes.alive() and time.monotonic() < limit:
                if number == signal.SIGKILL:
                    time.sleep(_POLL_INTERVAL)
                elif hurry.wait(_POLL_INTERVAL):
                    break
        with self._lock:
            if self._wake_write is not None:
                os.write(self._wake_write, b"!")

    def kill(self) -> None:
        """Kills its processes, without waiting for their end."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> bool:
        """Sends a signal to all its processes. Returns False if there are none."""
        groups = self._processes.groups()
        for group in groups:
            try:
                os.killpg(group, number)
                if number != signal.SIGKILL:
                    os.killpg(group, signal.SIGCONT)
            except ProcessLookupError:
                pass
            except PermissionError:
                self._type_interrupt()
        return bool(groups)

    def _type_interrupt(self) -> None:
        """Interrupts through the terminal what the user may not signal, such as sudo."""
        with self._lock:
            if self._terminal and self._wake_write is not None:
                with contextlib.suppress(OSError):
                    os.write(self._outputs[0].fd, b"\x03")


def _feed(fd: int, data: memoryview) -> memoryview:
    """Writes as much as the pipe takes. Returns the rest; nothing if the pipe has no reader."""
    try:
        return data[os.write(fd, data[:65536]) :] if data else data
    except BlockingIOError:
        return data
    except OSError:
        return data[:0]


def _acquire_terminal() -> None:
    """Makes standard input the controlling terminal of the calling process."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


#: Commands that run now. They end with the kernel.
_running: set[Command] = set()


@atexit.register
def _kill_running() -> None:
    for command in list(_running):
        command.kill()
