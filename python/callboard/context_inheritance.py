"""Makes threads, thread pools and trio's system tasks inherit the request of the code that starts them.

A thread that a cell's own code starts keeps that request. One that the code of a library starts (a thread pool of
multiprocessing, a `QueueListener`, the client of a cluster) may serve later cells: it has the request until that ends.

asyncio passes contexts on to tasks and callbacks. ``threading`` does not (from Python 3.14 by option only), nor does
trio for system tasks.
"""

from __future__ import annotations

import functools
import sys
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from . import patches
from ._core import start_thread
from .context import current_parent, report_stray, request_variables
from .util.origins import is_of_library

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import Context, ContextVar
    from types import FrameType

_is_kernel = False

#: ``Thread.start`` needs what `guard_thread_starts` does.
_IS_GUARDED = sys.version_info < (3, 12) or "t" in sys.abiflags

#: Threads run in contexts of their own, and their excepthook is called outside of these: it would not know the request.
_HAS_CONTEXT = sys.version_info >= (3, 14)

_patching = threading.Lock()


def follow_into_threads() -> None:
    """Patches threads and thread pools. For kernels: from now on `follow_into_trio` has an effect as well."""
    global _is_kernel
    _is_kernel = True
    _patch_once("threading:Thread.start", _start_for_parent)
    _patch_once("concurrent.futures.thread:ThreadPoolExecutor.submit", _submit_for_parent)


def follow_into_trio() -> None:
    """Patches trio's system tasks, and reports there what they raise, which would end trio and all that runs on it. To
    be called once trio is imported; does nothing outside of kernels."""
    if _is_kernel:
        _patch_once("trio.lowlevel:spawn_system_task", _spawn_for_parent)


def _spawn_for_parent(original: Callable[..., Any]) -> Callable[..., Any]:
    import trio

    @functools.wraps(original)
    def spawn_system_task(async_fn: Any, *args: Any, name: object = None, context: Context | None = None) -> Any:
        values = request_variables() if context is None else []

        async def run() -> None:
            for variable, value in values:
                variable.set(value)
            try:
                await async_fn(*args)
            except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - told to the user
                report_stray(error, copy_context())

        return original(
            trio.lowlevel.disable_ki_protection(run), name=async_fn if name is None else name, context=context
        )

    return spawn_system_task


def guard_thread_starts() -> None:
    """Keeps exceptions that are raised in a thread (interrupts, cancelled calls) out of the thread that it is just
    starting, and out of `Thread.start`. Python 3.11 needs that: until it runs, the new thread has the number of the one
    that starts it. Free-threaded Python needs it: what is raised in the wait for the new thread's begin ends there as
    RuntimeError (release unlocked lock)."""
    if _IS_GUARDED:
        _patch_once("threading:Thread.start", _start_for_parent)


def _patch_once(target: str, make: Callable[[Any], Any]) -> None:
    with _patching:
        if not patches.applied(target):
            patches.wrap(target, make)


def _start_for_parent(original: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        __tracebackhide__ = True
        values = request_variables()
        if values:
            if is_of_library(_starter(self, sys._getframe(1))):
                values = [
                    (variable, value.until_end() if variable is current_parent else value) for variable, value in values
                ]
            run = self.run

            def run_for_parent() -> None:
                self.__dict__.pop("run", None)
                for variable, value in values:
                    variable.set(value)
                if not _HAS_CONTEXT:
                    run()
                    return
                try:
                    run()
                except SystemExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - as threads do
                    threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, self)))

            self.run = run_for_parent  # type: ignore[method-assign]
        if _IS_GUARDED:
            start_thread(original, self)
        else:
            original(self)

    return start


def _starter(thread: threading.Thread, frame: FrameType | None) -> str:
    """The file of the code that starts a thread. Methods of the thread itself are not meant, nor wrappers of them."""
    while frame is not None:
        code = frame.f_code
        if not code.co_argcount or frame.f_locals.get(code.co_varnames[0]) is not thread:
            return code.co_filename
        frame = frame.f_back
    return ""


def _submit_for_parent(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def submit(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        values = request_variables()
        if not values:
            return original(self, fn, *args, **kwargs)
        return original(self, _call_for, values, fn, args, kwargs)

    return submit


def _call_for(values: list[tuple[ContextVar[Any], Any]], fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tokens = [(variable, variable.set(value)) for variable, value in values]
    try:
        return fn(*args, **kwargs)
    finally:
        for variable, token in tokens:
            variable.reset(token)
