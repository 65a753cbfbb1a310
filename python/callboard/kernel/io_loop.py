"""``kernel.io_loop``: tornado's interface to the event loop of a Caller."""

from __future__ import annotations

import datetime
import time
import traceback
from typing import TYPE_CHECKING, Any

from ..callers.calls import is_coroutine
from ..callers.submit import run_later

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from concurrent.futures import Executor

    from ..aio.pending import Pending
    from ..callers.caller import Caller


class IOLoop:
    """Runs callbacks in the thread of a Caller, as ``tornado.ioloop.IOLoop`` does. Every method may be called from any
    thread. What a callback prints belongs to the code that has added it, and so does what it raises."""

    def __init__(self, caller: Caller, stop: Callable[[], object]) -> None:
        self._caller = caller
        self._stop = stop

    @property
    def asyncio_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of asyncio. Raises `AttributeError` where trio runs."""
        loop: asyncio.AbstractEventLoop | None = getattr(self._caller.loop_thread.loop, "loop", None)
        if loop is None:
            msg = f"the thread of {self._caller.name} runs {self._caller.backend}, and no asyncio: use add_callback()"
            raise AttributeError(msg)
        return loop

    def add_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Calls a function in the thread; awaits what it returns if that can be awaited."""
        self._caller.schedule_call(_reporting, (callback, args, kwargs), {}, None, ())

    add_callback_from_signal = add_callback
    spawn_callback = add_callback

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> Pending[Any]:
        """Calls a function in the thread, `delay` seconds from now. Returns what `remove_timeout` takes."""
        due = time.monotonic() + delay
        return self._caller.schedule_call(run_later, (due, _reporting, (callback, args, kwargs), {}), {}, None, ())

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> Pending[Any]:
        """Like `call_later`, at a time of the clock `time`."""
        return self.call_later(max(0.0, when - self.time()), callback, *args, **kwargs)

    def add_timeout(
        self, deadline: float | datetime.timedelta, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Pending[Any]:
        """Like `call_at`, or with a `timedelta` like `call_later`."""
        if isinstance(deadline, datetime.timedelta):
            return self.call_later(deadline.total_seconds(), callback, *args, **kwargs)
        return self.call_at(deadline, callback, *args, **kwargs)

    def remove_timeout(self, timeout: Pending[Any]) -> None:
        """Does not make a call that waits."""
        timeout.cancel()

    def add_future(self, future: Any, callback: Callable[[Any], Any]) -> None:
        """Calls a function with a future when that is done."""
        future.add_done_callback(lambda done: self.add_callback(callback, done))

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> Any:
        """Runs a function in an executor, or in a worker thread. Returns what can be awaited."""
        if executor is None:
            return self._caller.to_thread(func, *args)
        import asyncio

        return asyncio.wrap_future(executor.submit(func, *args))

    def time(self) -> float:
        """The clock of `call_at`."""
        return time.time()

    def stop(self) -> None:
        """Ends the kernel, as on ipykernel, when the cell that runs has been answered."""
        self._stop()


async def _reporting(callback: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Calls a function and awaits its result. Prints what it raises."""
    try:
        result = callback(*args, **kwargs)
        if is_coroutine(result):
            await result
    except Exception:  # noqa: BLE001 - told to the user
        traceback.print_exc()
