"""A function that runs on a thread of its own, and the commands that it runs there, awaited in asyncio and trio."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import signal
import threading
from typing import TYPE_CHECKING, Any, Protocol

from ..aio.cancel_scope import shield_of_anyio
from ..aio.wakeups import current_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds that a function may take to return when the processes of its commands have ended.
RETURN_TIMEOUT = 1.0


async def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a function that runs commands on a thread of its own, in a copy of the context, and awaits its result.

    Works in tasks of asyncio and of trio; elsewhere the function is called at once, on the calling thread.

    A cancellation (or an exception that a signal raises here) ends the commands with all their processes, and is
    raised when they are gone. A second one has them killed at once.
    """
    __tracebackhide__ = True
    job = Job(functools.partial(function, *args, **kwargs))
    match current_library():
        case "asyncio":
            await _wait(job, _AsyncioEvent())
        case "trio":
            await _wait(job, _TrioEvent())
        case _:
            job.work()
    return job.result()


def current_job() -> Job | None:
    """The job that the calling code is part of."""
    return _local.job


def is_in_thread() -> bool:
    """Whether the calling code was called by `in_thread`, and may run commands."""
    return _local.job is not None


async def _wait(job: Job, ended: _Event) -> None:
    """Starts a job and waits until it has ended."""
    __tracebackhide__ = True
    stopped: BaseException | None = None
    # Set before the start: a signal can raise an exception as soon as the thread runs.
    job.ended = ended.set
    try:
        job.start()
        await ended.wait()
    except GeneratorExit:
        job.stop()
        raise
    except BaseException as error:  # noqa: BLE001 - raised below
        stopped = error
        job.stop()
    if stopped is not None:
        await ended.wait_shielded(on_cancel=job.stop)
        raise stopped.with_traceback(None)


class _Event(Protocol):
    """An event that any thread can set, for a task of one library."""

    def set(self) -> None: ...

    async def wait(self) -> None: ...

    async def wait_shielded(self, on_cancel: Callable[[], None]) -> None:
        """Waits through cancellations. Calls `on_cancel` for each, in a library that delivers more than one."""


class _AsyncioEvent:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = self._loop.create_future()

    def set(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    async def wait(self) -> None:
        __tracebackhide__ = True
        await asyncio.wait([self._done])

    async def wait_shielded(self, on_cancel: Callable[[], None]) -> None:
        with shield_of_anyio():
            while not self._done.done():
                try:
                    await asyncio.wait([self._done])
                except asyncio.CancelledError:
                    on_cancel()


class _TrioEvent:
    def __init__(self) -> None:
        import trio

        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._done = trio.Event()

    def set(self) -> None:
        with contextlib.suppress(self._trio.RunFinishedError):
            self._token.run_sync_soon(self._done.set)

    async def wait(self) -> None:
        __tracebackhide__ = True
        await self._done.wait()

    async def wait_shielded(self, on_cancel: Callable[[], None]) -> None:
        with self._trio.CancelScope(shield=True):
            await self._done.wait()


class Endable(Protocol):
    """A command, as far as a job must know it."""

    def end(self, hurry: threading.Event) -> None:
        """Ends its processes. Returns when they are gone."""


class Job:
    """A function that runs on a thread, and the commands that it runs there."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._commands: list[Endable] = []
        self._stopped = False
        self._hurry = threading.Event()
        self._worked = threading.Event()
        #: Called when the waiting is over: on any thread, and maybe twice.
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
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._error = error
        finally:
            _local.job = before
            self._worked.set()
            with self._lock:
                stopped = self._stopped
            if not stopped:
                self.ended()

    def result(self) -> Any:
        """Returns what the function has returned, or raises what it has raised."""
        __tracebackhide__ = True
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame
        return self._result

    def stop(self) -> None:
        """Ends the running commands, and prevents others: starting one raises ``KeyboardInterrupt`` in the function.
        The second call has them killed at once."""
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
        # The function may never return.
        self._worked.wait(RETURN_TIMEOUT)
        self.ended()

    @contextlib.contextmanager
    def running(self, command: Endable) -> Iterator[None]:
        """Lets `stop` end this command inside the ``with`` block."""
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
