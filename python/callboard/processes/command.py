"""Commands that do not hold up an event loop, and that end with all their processes."""

from __future__ import annotations

import asyncio
import atexit
import codecs
import contextlib
import contextvars
import functools
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..aio.cancel_scope import shield_of_anyio
from ..aio.wakeups import current_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Write = Callable[[str], Any]

#: How a command is asked to end, and how long it then has for it, seconds.
ESCALATION = ((signal.SIGINT, 0.5), (signal.SIGTERM, 0.5), (signal.SIGKILL, 1.0))

#: Seconds that what is left to do may take when the processes of a command have ended.
_REST = 1.0

#: Seconds between two looks at processes that are to end.
_LOOK = 0.01

#: Acquires the terminal for the session (Linux), and then is the program.
_WITH_TERMINAL = '{ true <"$0"; } 2>/dev/null; exec "$@"'


# -- waiting for a thread -------------------------------------------------------------------------------


async def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a function that runs commands (`run`) on a thread of its own, in a copy of the context, and awaits
    what it returns.

    Works in tasks of asyncio and of trio; elsewhere the function is called at once, on the calling thread.

    A cancellation (or an exception that a signal raises here) ends the commands with all their processes, and
    is raised when they are gone. Another one meanwhile has them killed at once.
    """
    __tracebackhide__ = True
    job = Job(functools.partial(function, *args, **kwargs))
    match current_library():
        case "asyncio":
            await _wait_in_asyncio(job)
        case "trio":
            await _wait_in_trio(job)
        case _:
            job.work()
    return job.result()


async def _wait_in_asyncio(job: Job) -> None:
    __tracebackhide__ = True
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def set_done() -> None:
        if not done.done():
            done.set_result(None)

    def ended() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(set_done)

    stopped: BaseException | None = None
    # Before it is called: an exception that a signal raises can come as soon as that has begun.
    job.ended = ended
    try:
        job.start()
        await asyncio.wait([done])
    except GeneratorExit:
        job.stop()
        raise
    except BaseException as error:  # noqa: BLE001 - raised below
        stopped = error
        job.stop()
    if stopped is not None:
        with shield_of_anyio():
            while not done.done():
                try:
                    await asyncio.wait([done])
                except asyncio.CancelledError:
                    job.stop()
        raise stopped.with_traceback(None)


async def _wait_in_trio(job: Job) -> None:
    __tracebackhide__ = True
    import trio

    token = trio.lowlevel.current_trio_token()
    done = trio.Event()

    def ended() -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set)

    stopped: BaseException | None = None
    # Before it is called: an exception that a signal raises can come as soon as that has begun.
    job.ended = ended
    try:
        job.start()
        await done.wait()
    except GeneratorExit:
        job.stop()
        raise
    except BaseException as error:  # noqa: BLE001 - raised below
        stopped = error
        job.stop()
    if stopped is not None:
        with trio.CancelScope(shield=True):
            await done.wait()
        raise stopped.with_traceback(None)


class Job:
    """A function that runs on a thread, and the commands that it runs there."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._commands: list[Command] = []
        self._stopped = False
        self._hurry = threading.Event()
        self._worked = threading.Event()
        #: Is called when nothing is to be waited for; from any thread, and maybe twice.
        self.ended: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Starts the thread."""
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._work_alone,), name="Command", daemon=True).start()

    def _work_alone(self) -> None:
        __tracebackhide__ = True
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.work()

    def work(self) -> None:
        """Calls the function on the calling thread."""
        __tracebackhide__ = True
        before, _local.job = _local.job, self
        try:
            self._result = self._function()
        except BaseException as error:  # noqa: BLE001 - for whoever waits
            self._error = error
        finally:
            _local.job = before
            self._worked.set()
            with self._lock:
                stopped = self._stopped
            if not stopped:
                self.ended()

    def result(self) -> Any:
        """What the function has returned; raises what it has raised."""
        __tracebackhide__ = True
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame
        return self._result

    def stop(self) -> None:
        """Ends the commands that run, and lets none begin: the function gets a ``KeyboardInterrupt`` instead. The
        second call has them killed at once."""
        with self._lock:
            first, self._stopped = not self._stopped, True
        if first:
            threading.Thread(target=self._stop, name="End of a command", daemon=True).start()
        else:
            self._hurry.set()

    def _stop(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        with self._lock:
            commands = list(self._commands)
        for command in commands:
            command.end(self._hurry)
        # Its thread may be in code that does not end; nobody is to wait for that.
        self._worked.wait(_REST)
        self.ended()

    @contextlib.contextmanager
    def running(self, command: Command) -> Iterator[None]:
        """Lets `stop` end this command inside of the ``with``."""
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            self._commands.append(command)
        try:
            yield
        finally:
            with self._lock:
                self._commands.remove(command)
        if self._stopped:
            raise KeyboardInterrupt


class _Local(threading.local):
    job: Job | None = None


_local = _Local()


def is_in_thread() -> bool:
    """Whether the calling code was called by `in_thread`, and may use `run`."""
    return _local.job is not None


# -- commands -------------------------------------------------------------------------------------------


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

    Hands its output over as it comes; without `stderr`, all of it to `stdout`. With `terminal`, its input and
    output are a terminal where nobody types.

    Raises ``OSError`` if it cannot be started, ``KeyboardInterrupt`` when it has been stopped. Also when a SIGINT has
    ended it, as in a script of a shell: until it is in a session of its own it gets that of the kernel's process group,
    and can be gone before the kernel has told anybody.
    """
    command = Command(argv, stdout, stderr, stdin=stdin, terminal=terminal, encoding=encoding)
    with _local.job.running(command) if _local.job is not None else contextlib.nullcontext():
        code = command.run()
    if code == -signal.SIGINT:
        raise KeyboardInterrupt
    return code


class _Output:
    """One stream of a command: what is read from a descriptor is decoded and handed over."""

    def __init__(self, fd: int, write: Write, encoding: str) -> None:
        self.fd = fd
        self._write = write
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def forward(self) -> bool:
        """Hands over what is there. False at the end."""
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: nobody has the terminal any more
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
        self._processes = Processes(0)
        self._files = contextlib.ExitStack()
        self._outputs: list[_Output] = []
        self._ended = False
        self._bell: int | None = None

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
                return process.wait(_REST if self._ended else None)
            except subprocess.TimeoutExpired:
                return -signal.SIGKILL
            except BaseException:
                self.end()
                raise
            finally:
                _running.discard(self)
                with self._lock:
                    self._bell = None

    # -- start ------------------------------------------------------------------------------------------

    def _start(self) -> subprocess.Popen[bytes]:
        self._bell_in, self._bell = self._pipe()
        process = self._start_in_terminal() if self._terminal else self._start_with_pipes()
        self._processes = Processes(process.pid)
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
            argv, options = self._argv, {}
            if sys.platform == "linux":
                # No code of Python's between fork and exec: a large process starts its children without a copy.
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
        """Returns when it has closed its output, or when the bell has rung and nothing is left to read."""
        assert self._process is not None
        stdin, left = self._process.stdin, memoryview(self._stdin)
        with selectors.DefaultSelector() as selector:
            selector.register(self._bell_in, selectors.EVENT_READ)
            for output in self._outputs:
                selector.register(output.fd, selectors.EVENT_READ, output)
            if stdin is not None:
                os.set_blocking(stdin.fileno(), False)
                selector.register(stdin, selectors.EVENT_WRITE)
            reading = len(self._outputs)
            patience: float | None = None
            while reading:
                ready = selector.select(patience)
                if not ready and patience is not None:
                    return
                for key, _ in ready:
                    if key.fd == self._bell_in:
                        patience = 0
                        selector.unregister(self._bell_in)
                    elif isinstance(key.data, _Output):
                        if not key.data.forward():
                            selector.unregister(key.fd)
                            reading -= 1
                    elif not (left := _feed(key.fd, left)):
                        selector.unregister(stdin)  # type: ignore[arg-type]
                        stdin.close()  # type: ignore[union-attr]

    # -- end --------------------------------------------------------------------------------------------

    def end(self, hurry: threading.Event | None = None) -> None:
        """Ends all its processes: asks them first, and kills them when they take too long, or when `hurry` is
        set. Returns when they are gone, or do not go."""
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
                    time.sleep(_LOOK)
                elif hurry.wait(_LOOK):
                    break
        with self._lock:
            if self._bell is not None:
                os.write(self._bell, b"!")

    def kill(self) -> None:
        """Kills its processes, without waiting for anything."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> bool:
        """Sends a signal to all its processes. False if there are none."""
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
        """A terminal may interrupt what its user may not signal, such as sudo."""
        with self._lock:
            if self._terminal and self._bell is not None:
                with contextlib.suppress(OSError):
                    os.write(self._outputs[0].fd, b"\x03")


def _feed(fd: int, data: memoryview) -> memoryview:
    """Writes what the pipe takes. Returns what is left; nothing if nobody reads it."""
    try:
        return data[os.write(fd, data[:65536]) :] if data else data
    except BlockingIOError:
        return data
    except OSError:
        return data[:0]


def _acquire_terminal() -> None:
    """Makes its standard input the controlling terminal of the calling process."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


#: Commands that run now. They do not outlive the kernel.
_running: set[Command] = set()


@atexit.register
def _kill_what_runs() -> None:
    for command in list(_running):
        command.kill()


# -- processes ------------------------------------------------------------------------------------------


class _Process(NamedTuple):
    parent: int
    group: int
    session: int
    #: When it was started: a number can belong to another process later on.
    start: str


class Processes:
    """The processes of a session, and all that these have started."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._known: dict[int, str] = {}

    def groups(self) -> set[int]:
        """The process groups of those that are there now."""
        if not self._session:
            return set()
        there = _processes()
        mine = {
            pid
            for pid, process in there.items()
            if self._session in (process.session, process.group, pid) or self._known.get(pid) == process.start
        }
        while more := {pid for pid, process in there.items() if process.parent in mine} - mine:
            mine |= more
        self._known = {pid: there[pid].start for pid in mine}
        return {there[pid].group for pid in mine}

    def alive(self) -> bool:
        """Whether one of those that `groups` has found is still there."""
        return any(_is_alive(pid, start) for pid, start in self._known.items())


def _processes() -> dict[int, _Process]:
    """All processes that have not ended, by their number."""
    if os.path.exists("/proc/self/stat"):
        found = ((int(name), _read_process(name)) for name in os.listdir("/proc") if name.isdecimal())
        return {pid: process for pid, process in found if process is not None}
    lines = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], stdout=subprocess.PIPE, text=True, check=False
    ).stdout.splitlines()
    rows = (line.split() for line in lines)
    return {int(row[0]): _Process(int(row[1]), int(row[2]), 0, "") for row in rows if not row[3].startswith("Z")}


def _read_process(pid: int | str) -> _Process | None:
    """What Linux says of a process; None if it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may contain anything.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return _Process(int(fields[1]), int(fields[2]), int(fields[3]), fields[19].decode())


def _is_alive(pid: int, start: str) -> bool:
    if start:
        process = _read_process(pid)
        return process is not None and process.start == start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
