"""The calls that a Caller has been given and has not begun."""

from __future__ import annotations

import inspect
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..aio.loops.make import start_guest
from ..aio.pending import Pending
from ..aio.wakeups import current_library
from .calls import RunningCalls, is_coroutine

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core import Inbox
    from ..aio.loops.base import Loop
    from ..aio.loops.guest import Guest
    from .state import Status

    #: A function with its arguments, to be called in the loop itself.
    DirectCall = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

logger = logging.getLogger("callboard.caller")


class SubmittedCalls:
    """Takes calls from any thread, and starts them in the thread of the Caller: in its own loop, or in a guest of
    that."""

    def __init__(self, status: Status, inbox: Inbox, running: RunningCalls) -> None:
        self._status = status
        self._inbox = inbox
        self._running = running
        #: Emptied by `LoopThread.drain`.
        self.waiting: deque[Pending[Any] | DirectCall] = deque()
        #: The event loop, while it runs.
        self.loop: Loop | None = None
        self._guests: dict[str, Guest] = {}
        #: The calls that have been given to guests and have not ended.
        self._guest_calls: dict[str, set[Pending[Any]]] = {}

    def give(self, call: Pending[Any] | DirectCall) -> None:
        """Has a call started soon. From any thread."""
        try:
            self.waiting.append(call)
        finally:
            # Also when an interrupt has come in between.
            self._inbox.notify()
        if self._status.stopping.done():
            # The queue is not looked at any more.
            self.refuse()

    def refuse(self) -> None:
        """Ends all calls that have not begun. From any thread."""
        while True:
            try:
                call = self.waiting.popleft()
            except IndexError:
                return
            if isinstance(call, Pending):
                self._status.fail(call)
            else:
                logger.debug("%s: a direct call of %r is dropped", self._status.why(), call[0])

    def start(self, pen: Pending[Any]) -> None:
        """Starts the task of a call. In the thread of the Caller."""
        if self._status.stopping.done():
            self._status.fail(pen)
        if pen.done():
            return
        assert self.loop is not None
        try:
            backend = pen.metadata.get("backend")
            if backend is None:
                self.loop.spawn_plain(self._running.run, pen, pen.context)
            else:
                self._start_in_guest(backend, pen)
        except Exception as error:  # noqa: BLE001 - comes out of the Pending
            pen.set_exception(error)

    def call_now(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Makes a direct call. In the thread of the Caller."""
        try:
            result = func(*args, **kwargs)
            if inspect.iscoroutine(result):
                result.close()
                logger.error("call_direct calls functions, and %r is a coroutine function: use call_soon", func)
        except BaseException:
            # Also SystemExit: nothing waits for a direct call, so it ends nothing.
            logger.exception("a direct call of %r failed", func)

    # -- guests -----------------------------------------------------------------------------------------

    def _start_in_guest(self, backend: str, pen: Pending[Any]) -> None:
        guest = self._guests.get(backend)
        if guest is None:
            guest = self._start_guest(backend)
        pens = self._guest_calls[backend]
        pens.add(pen)
        pen.add_done_callback(pens.discard)
        guest.call(lambda tasks: tasks.spawn_plain(self._running.run, pen, pen.context))

    def _start_guest(self, backend: str) -> Guest:
        name = self._status.name

        def on_end(error: BaseException | None) -> None:
            if error is not None:
                logger.error("%s, the guest of the Caller %r, has ended", backend, name, exc_info=error)
            self._guests.pop(backend, None)
            for pen in list(self._guest_calls.pop(backend, ())):
                if error is not None:
                    pen.set_exception(RuntimeError(f"{backend}, the guest of {name!r}, has ended: {error!r}"))
                self._status.fail(pen)

        self._guest_calls[backend] = set()
        guest = self._guests[backend] = start_guest(self.loop, backend, on_end)
        return guest

    def cancel_in_guests(self) -> list[Pending[Any]]:
        """Cancels the calls of guests, also those that have not begun. Returns those that have not ended."""
        pens = [pen for pens in list(self._guest_calls.values()) for pen in list(pens)]
        for pen in pens:
            pen.cancel(self._status.why())
        return pens

    def stop_guests(self) -> list[Pending[None]]:
        """Asks the guests to end. Returns Pendings that are done when they have ended."""
        guests = list(self._guests.values())
        for guest in guests:
            guest.stop()
        return [guest.ended for guest in guests]

    def fail_in_guests(self) -> None:
        """Ends the calls of guests, which do not run any more."""
        for pens in list(self._guest_calls.values()):
            for pen in list(pens):
                self._status.fail(pen)


async def run_later(due: float, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs a function when ``time.monotonic()`` has reached `due`."""
    # Some loops round down to milliseconds.
    while (left := due - time.monotonic()) > 0:
        await sleep(left)
    result = func(*args, **kwargs)
    return await result if is_coroutine(result) else result


async def sleep(seconds: float) -> None:
    """Waits, on whatever event loop runs."""
    if current_library() == "trio":
        import trio

        await trio.sleep(seconds)
    else:
        import asyncio

        await asyncio.sleep(seconds)
