"""Event loops inside a cell: ``asyncio.run()`` and its like, called while the loop of the Caller runs.

The functions that start a loop are wrapped. Where one runs already, the wrapper hides it: until the inner one has
ended, the thread has no running loop, no current task and no current library, as in a plain script. The outer loop
stands still meanwhile, as it does in ``time.sleep()``. No loop is changed, and none is entered twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import sys
import threading
import time
from asyncio import _get_running_loop, _set_running_loop  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

from .. import _core
from ..util.lazy_import import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType

    #: A task of asyncio's, or of trio's.
    Task = Any

#: Seconds that a nested loop has to take notice of an interrupt; after that it hits the code that keeps it from it.
PATIENCE = 0.2

# Since Python 3.14 a thread has one current task, whatever its loop.
_swap_current_task = getattr(asyncio.tasks, "_swap_current_task", None)

# Modules that may be imported later, or never.
_trio: ModuleType | None = None
_sniffio: ModuleType | None = None


class _Thread:
    """The nested runs of a thread."""

    def __init__(self) -> None:
        #: The innermost one.
        self.run: _Run | None = None
        #: The task that the outermost one hides.
        self.task: Task | None = None
        #: Something is being hidden or put back: an exception now would leave that half done.
        self.switching = False
        #: SIGINT has come while that was so, or while a loop was being made.
        self.interrupted = False


class _Run:
    """A loop that runs inside another one, and what it hides of that."""

    def __init__(self, thread: _Thread, *, trio: bool, library: str | None) -> None:
        self._thread = thread
        self._is_trio = trio
        self._name = library
        self._library: tuple[str | None, str | None] | None = None
        self._wakeup_fd: int | None = None
        #: What SIGINT does: `signal.default_int_handler`, or what the loop has set instead.
        self.on_sigint: Any = signal.default_int_handler
        #: The loop is being made, and SIGINT waits until it can deal with it.
        self.starting = library is None
        #: When asyncio was asked to cancel its main task, if it has not taken notice yet; monotonic seconds.
        self.asked: float | None = None

    def begin(self) -> None:
        """Hides the loop that runs. To be called with `switching` set."""
        thread = self._thread
        loop = self._loop = _get_running_loop()
        self._task = asyncio.current_task() if loop is not None else None
        trio = _trio.GLOBAL_RUN_CONTEXT.__dict__ if _trio is not None else {}
        self._trio = dict(trio)
        self._policys_loop = _loop_of_policy()
        if thread.run is None:
            thread.task = trio.get("task", self._task)
        self._outer, thread.run = thread.run, self
        if self._task is not None and _swap_current_task is not None:
            _swap_current_task(loop, None)
        _set_running_loop(None)
        trio.clear()
        self._asyncgen_hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        if _sniffio is not None:
            self._library = _sniffio.thread_local.name, _sniffio.current_async_library_cvar.get()
            _sniffio.thread_local.name = self._name
            _sniffio.current_async_library_cvar.set(None)
        if thread is _main:
            self._wakeup_fd = signal.set_wakeup_fd(-1)
            if not self._is_trio:
                # Signals for the outer loop are kept for it. trio would warn of such a descriptor.
                self._restore_wakeup_fd()
        self._switched()

    def end(self) -> None:
        """Puts back what `begin` has hidden, if it has. To be called with `switching` set."""
        thread = self._thread
        if thread.run is self:
            _set_running_loop(self._loop)
            if self._task is not None and _swap_current_task is not None:
                _swap_current_task(self._loop, self._task)
            if _trio is not None:
                trio = _trio.GLOBAL_RUN_CONTEXT.__dict__
                trio.clear()
                trio.update(self._trio)
            sys.set_asyncgen_hooks(*self._asyncgen_hooks)
            if self._library is not None and _sniffio is not None:
                _sniffio.thread_local.name, library = self._library
                _sniffio.current_async_library_cvar.set(library)
            if _loop_of_policy() is not self._policys_loop:
                # asyncio.Runner leaves none.
                asyncio.set_event_loop(self._policys_loop)
            if thread is _main:
                self._restore_signals()
            thread.run = self._outer
            if thread.run is None:
                thread.task = None
        self._switched()

    def started(self) -> None:
        """The loop can deal with SIGINT."""
        self.starting = False
        self._deliver()

    def heard(self) -> None:
        """asyncio has taken notice of an interrupt, or need not any more."""
        self.asked = None
        _core.sigint_noticed()

    def _switched(self) -> None:
        thread = self._thread
        thread.switching = False
        if thread.run is not self or not self.starting:
            self._deliver()

    def _deliver(self) -> None:
        if self._thread.interrupted:
            self._thread.interrupted = False
            interrupt(signal.SIGINT, sys._getframe())

    def _restore_signals(self) -> None:
        self._restore_wakeup_fd()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # Left by loop.remove_signal_handler(): to it that is the beginning.
            signal.signal(signal.SIGINT, _kernels_handler)
        _core.watch_sigint()
        if self.asked is not None:
            self.heard()

    def _restore_wakeup_fd(self) -> None:
        if self._wakeup_fd is not None:
            # Its owner may have closed it.
            with contextlib.suppress(OSError, ValueError):
                signal.set_wakeup_fd(self._wakeup_fd, warn_on_full_buffer=False)


_threads = threading.local()
_main = _Thread()
_kernels_handler: Any = None


def _this_thread() -> _Thread:
    try:
        return _threads.this
    except AttributeError:
        _threads.this = _Thread()
        return _threads.this


def task() -> Task | None:
    """The task of the thread's own loop, if the calling code is in a nested run of it: `asyncio.current_task()` is
    that of the nested loop then."""
    return _this_thread().task


def _loop_of_policy() -> asyncio.AbstractEventLoop | None:
    """What was given to `asyncio.set_event_loop` in this thread."""
    get_policy = getattr(asyncio.events, "_get_event_loop_policy", None) or asyncio.get_event_loop_policy
    return getattr(getattr(get_policy(), "_local", None), "_loop", None)


# -- SIGINT ---------------------------------------------------------------------------------------------------


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Interrupts the user code that runs on the main thread: raises ``KeyboardInterrupt``, or lets the nested loop
    do what it does about SIGINT."""
    run = _main.run
    # Two of them do not wait: whatever makes the loop may hang.
    if _main.switching or (run is not None and run.starting and not _main.interrupted):
        _main.interrupted = True
        return
    _main.interrupted = False
    if run is None:
        raise KeyboardInterrupt
    loop = _loop_to_ask()
    run.on_sigint(signum, frame)
    if loop is not None:
        run.asked = time.monotonic()
        loop.call_soon_threadsafe(run.heard)


def sigint_noticed() -> None:
    """To be called for every SIGINT, first: the main thread need not be told again that there was one.

    It is told all the same if a nested loop is about to be asked to cancel its main task, until it has taken notice:
    it does not as long as a task computes, or calls what blocks.
    """
    if _loop_to_ask() is None:
        _core.sigint_noticed()


def _loop_to_ask() -> asyncio.AbstractEventLoop | None:
    """The nested loop of an `asyncio.Runner`, which cancels its main task at the first SIGINT."""
    run = _main.run
    if run is None or run.starting or _main.switching or run.on_sigint is signal.default_int_handler:
        return None
    return _get_running_loop()


def _told_again(signum: int, frame: FrameType | None) -> None:
    """Handles the signal that comes as long as `_core.sigint_noticed` is not called."""
    run = _main.run
    if run is None or run.asked is None or _main.switching or time.monotonic() - run.asked < PATIENCE:
        return
    run.heard()
    # For a second time: asyncio.Runner raises KeyboardInterrupt now.
    run.on_sigint(signal.SIGINT, frame)


class _Signal:
    """The module ``signal`` for asyncio.Runner and trio, which handle SIGINT if nobody else does: the kernel is
    nobody to a nested run. Its handler stays where it is, and calls theirs; to install it anew would end the watch
    over it. `at_once`: theirs can be called as soon as it is installed."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once

    def __getattr__(self, name: str) -> Any:
        return getattr(signal, name)

    def getsignal(self, signum: int) -> Any:
        if _main.run is not None and self._is_kernels(signum):
            return _main.run.on_sigint
        return signal.getsignal(signum)

    def signal(self, signum: int, handler: Any) -> Any:
        if not self._is_kernels(signum):
            return signal.signal(signum, handler)
        before = self.getsignal(signum)
        run = _main.run
        if handler == before:
            return before
        if run is None:
            return signal.signal(signum, handler)
        run.on_sigint = handler
        if self._at_once or not _main.interrupted:
            run.started()
        return before

    def _is_kernels(self, signum: int) -> bool:
        return signum == signal.SIGINT and _this_thread() is _main and signal.getsignal(signum) == _kernels_handler


# -- the functions that start a loop --------------------------------------------------------------------------


def _nestable(function: Callable, *, trio: bool = False, library: str | None = None) -> Callable:
    """Lets a function that starts a loop be called where one runs. `trio`: the loop may be trio's. `library`: the name
    of the library for sniffio, if it is to be told: the context of a task that is there already may have another one.
    """
    # A guest of another loop has a runner also while that loop has control: trio does not start another one then.
    sign_of_trio = "runner" if trio else "task"

    @functools.wraps(function)
    def start(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if _get_running_loop() is None and (_trio is None or not hasattr(_trio.GLOBAL_RUN_CONTEXT, sign_of_trio)):
            if _main.interrupted and library is not None and _main.run is not None and _this_thread() is _main:
                _main.run.started()
            return function(*args, **kwargs)
        thread = _this_thread()
        run = _Run(thread, trio=trio, library=library)
        try:
            thread.switching = True
            run.begin()
            return function(*args, **kwargs)
        finally:
            # First of all, and no call: an interrupt does not come in between.
            thread.switching = True
            run.end()

    return start


def _wrap(owner: Any, *names: str, **options: Any) -> None:
    """Wraps functions of a module, or methods of a class; see `_nestable`."""
    for name in names:
        original = getattr(owner, name)
        wrapper = _nestable(original, **options)
        setattr(owner, name, wrapper)
        if not isinstance(owner, type):
            # Other modules may have imported it from there.
            for module in list(sys.modules.values()):
                if type(module) is not LazyModule and getattr(module, "__dict__", {}).get(name) is original:
                    setattr(module, name, wrapper)


def _wrap_uvloop(module: ModuleType) -> None:
    _wrap(module.Loop, "run_forever", "run_until_complete", library="asyncio")
    _wrap(module, "run")


def _wrap_trio(module: ModuleType) -> None:
    global _trio
    _wrap(module, "run", trio=True)
    _trio = module


def _give_signal(module: ModuleType, *, at_once: bool = True) -> None:
    module.signal = _Signal(at_once=at_once)  # type: ignore[attr-defined]


def _keep_sniffio(module: ModuleType) -> None:
    global _sniffio
    if hasattr(module, "thread_local"):
        _sniffio = module


_AFTER_IMPORT: dict[str, Callable[[ModuleType], None]] = {
    "anyio._core._eventloop": lambda module: _wrap(module, "run", trio=True),
    "sniffio._impl": _keep_sniffio,
    "trio._core._ki": _give_signal,
    "trio._core._run": _wrap_trio,
    "trio._util": _give_signal,
    "uvloop": _wrap_uvloop,
}


class _Finder:
    """Finds the modules of `_AFTER_IMPORT` as the other finders do, and has them wrapped once they are imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _AFTER_IMPORT:
            return None
        finders = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)
        loader: Any = spec and spec.loader
        if loader is None:
            return None
        exec_module = loader.exec_module

        def exec_and_wrap(module: ModuleType) -> None:
            del loader.exec_module
            exec_module(module)
            _AFTER_IMPORT[name](module)

        loader.exec_module = exec_and_wrap
        return spec


def install() -> None:
    """Lets loops run inside cells from now on. To be called once, on the main thread, when the kernel handles
    SIGINT."""
    global _kernels_handler
    _kernels_handler = signal.getsignal(signal.SIGINT)
    _threads.this = _main
    if signal.getsignal(signal.SIGURG) == signal.SIG_DFL:
        signal.signal(signal.SIGURG, _told_again)
    # A Runner forgets what came before its loop runs.
    _give_signal(asyncio.runners, at_once=False)
    _wrap(asyncio.runners, "run")
    # Those that make the Runner's context are wrapped too: the outer library may be noted in it.
    _wrap(asyncio.Runner, "__enter__", "get_loop", "run", "close")
    _wrap(asyncio.BaseEventLoop, "run_forever", "run_until_complete", library="asyncio")
    for name, wrap in _AFTER_IMPORT.items():
        module = sys.modules.get(name)
        if module is not None:
            wrap(module)
    sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
