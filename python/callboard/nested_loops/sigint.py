"""SIGINT while loops are nested: what the kernel's handler does to the code that runs on the main thread.

The kernel's handler stays installed. For the nested loop it calls the handler that this loop has set through
`SignalProxy`, or raises ``KeyboardInterrupt``.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from asyncio import _get_running_loop
from typing import TYPE_CHECKING, Any

from .. import _core, patches

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

    #: A task of asyncio or trio.
    Task = Any

#: Seconds that a nested loop has to process an interrupt; after that the code that blocks it gets KeyboardInterrupt.
PATIENCE = 0.2


class ThreadRuns:
    """The nested runs of a thread."""

    def __init__(self) -> None:
        #: The innermost one.
        self.run: Run | None = None
        #: The task that the outermost one hides.
        self.task: Task | None = None
        #: A loop is being hidden or restored: an exception now would leave that half done.
        self.switching = False
        #: A SIGINT is held back, because it came while `switching` was set or a loop was being made.
        self.interrupted = False


class Run:
    """How a nested run handles SIGINT."""

    def __init__(self, thread: ThreadRuns, *, starting: bool) -> None:
        self.thread = thread
        #: `signal.default_int_handler`, or the handler that the loop has set.
        self.on_sigint: Any = signal.default_int_handler
        #: The loop is being made: SIGINT waits until the loop can handle it.
        self.starting = starting
        #: When asyncio was asked to cancel its main task, until it has processed that; monotonic seconds.
        self.asked: float | None = None

    def started(self) -> None:
        """The loop can handle SIGINT from now on."""
        self.starting = False
        self._deliver()

    def switched(self) -> None:
        """A loop has been hidden or restored: delivers the SIGINT that was held back, if there is one."""
        self.thread.switching = False
        if self.thread.run is not self or not self.starting:
            self._deliver()

    def heard(self) -> None:
        """asyncio has processed an interrupt, or need not any more."""
        self.asked = None
        _core.sigint_noticed()

    def _deliver(self) -> None:
        if self.thread.interrupted:
            self.thread.interrupted = False
            interrupt(signal.SIGINT, sys._getframe())


class _Local(threading.local):
    runs: ThreadRuns


_local = _Local()

#: The nested runs of the main thread, which is the only one that gets signals.
main = ThreadRuns()
_kernel_handler: Any = None


def this_thread() -> ThreadRuns:
    """The nested runs of the calling thread."""
    try:
        return _local.runs
    except AttributeError:
        _local.runs = ThreadRuns()
        return _local.runs


def outer_task() -> Task | None:
    """The task of the thread's own loop, if the calling code is in a nested run: `asyncio.current_task()` is that of
    the nested loop then."""
    return this_thread().task


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Interrupts the user code that runs on the main thread: raises ``KeyboardInterrupt``, or calls the nested loop's
    handler."""
    run = main.run
    # A second one is not held back: the code that makes the loop may hang.
    if main.switching or (run is not None and run.starting and not main.interrupted):
        main.interrupted = True
        return
    main.interrupted = False
    if run is None:
        raise KeyboardInterrupt
    loop = _loop_to_ask()
    run.on_sigint(signum, frame)
    if loop is not None:
        run.asked = time.monotonic()
        loop.call_soon_threadsafe(run.heard)


def is_switching() -> bool:
    """Whether the main thread hides, restores or makes a loop: an exception would leave that half done."""
    run = main.run
    return main.switching or (run is not None and run.starting)


def sigint_noticed() -> None:
    """Stops the repetition of a SIGINT (`src/os/sigint.rs`). To be called first in the handler.

    If a nested loop is about to be asked to cancel its main task, the repetition goes on until it has processed that:
    it cannot as long as a task computes or blocks.
    """
    if _loop_to_ask() is None:
        _core.sigint_noticed()


def _loop_to_ask() -> asyncio.AbstractEventLoop | None:
    """The nested loop of an `asyncio.Runner`, which cancels its main task at the first SIGINT."""
    run = main.run
    if run is None or run.starting or main.switching or run.on_sigint is signal.default_int_handler:
        return None
    return _get_running_loop()


def _on_sigurg(signum: int, frame: FrameType | None) -> None:
    """Handles the signal that repeats a SIGINT until `_core.sigint_noticed` is called."""
    run = main.run
    if run is None or run.asked is None or main.switching or time.monotonic() - run.asked < PATIENCE:
        return
    run.heard()
    # The second call: asyncio.Runner raises KeyboardInterrupt.
    run.on_sigint(signal.SIGINT, frame)


def is_kernels(signum: int) -> bool:
    """Whether this is SIGINT, on the main thread, and the kernel handles it."""
    return signum == signal.SIGINT and this_thread() is main and signal.getsignal(signum) == _kernel_handler


def restore_handler() -> None:
    """Installs the kernel's handler again, if a nested run has removed it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Set by loop.remove_signal_handler(), which knows no other handler before its own.
        signal.signal(signal.SIGINT, _kernel_handler)
    _core.watch_sigint()


def install() -> None:
    """Takes the present handler of SIGINT for the kernel's. To be called once, on the main thread."""
    global _kernel_handler
    _kernel_handler = signal.getsignal(signal.SIGINT)
    _local.runs = main
    if signal.getsignal(signal.SIGURG) == signal.SIG_DFL:
        patches.put("signal:SIGURG", _on_sigurg)


class SignalProxy:
    """The module ``signal``, except that a nested run finds SIGINT unhandled, and may handle it.

    asyncio.Runner and trio install a handler only if the default one is installed. The kernel's handler stays
    installed and calls theirs: installing it again afterwards would end the watch over it (`_core.watch_sigint`).
    `at_once`: their handler can be called as soon as it is installed.
    """

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once

    def __getattr__(self, name: str) -> Any:
        return getattr(signal, name)

    def getsignal(self, signum: int) -> Any:
        if main.run is not None and is_kernels(signum):
            return main.run.on_sigint
        return signal.getsignal(signum)

    def signal(self, signum: int, handler: Any) -> Any:
        if not is_kernels(signum):
            return signal.signal(signum, handler)
        before = self.getsignal(signum)
        run = main.run
        if handler == before:
            return before
        if run is None:
            return signal.signal(signum, handler)
        run.on_sigint = handler
        if self._at_once or not main.interrupted:
            run.started()
        return before
