"""Wakes event loops from any thread: with a token in an inbox that the loop watches, never with a call.

A Rust thread must not take the GIL, so it cannot call into a loop, but it can add a token and write to a descriptor.
Every event loop that waits for a :class:`callboard.Pending` has one :class:`Wakeups`, made lazily. Loops that share a
thread, because one runs as the guest of another, have one each.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from .. import _core

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Wakeups", "adopt", "attach", "current", "current_library", "for_current_loop"]

logger = logging.getLogger("callboard.wakeups")

#: Runs the callbacks of pendings that an actor completes, if no event loop was running when they were given to the
#: actor, or that loop has ended. A kernel sets it to the Wakeups of its main thread.
home: Wakeups | None = None


class Wakeups:
    """The callbacks that may be woken in one event loop, by token.

    The tokens arrive in ``inbox``. The owner of the loop watches ``inbox.fileno()`` and calls :meth:`drain`; or, if
    more than tokens comes in, drains the inbox itself and calls :meth:`fire` for each integer.
    """

    __slots__ = ("__weakref__", "_adopted", "_callbacks", "_ending", "_loop", "_tokens", "inbox")

    def __init__(self, inbox: _core.Inbox | None = None) -> None:
        # No callback refers to this object: without cycles it is freed with its loop.
        self._adopted: dict[int, _core.Pending] = {}
        self._callbacks: dict[int, Callable[[], object]] = {}
        #: The asyncio loop, once it is known.
        self._loop: Callable[[], object] = _nothing
        self._tokens = itertools.count(1)
        self._ending = False
        self.inbox = _core.Inbox() if inbox is None else inbox

    def register(self, callback: Callable[[], object]) -> int:
        """Returns a token. Whenever it is woken, ``callback`` is called on the thread of the loop, until the token is
        forgotten: perhaps more often than it was woken, but not less."""
        token = next(self._tokens)
        self._callbacks[token] = callback
        return token

    def forget(self, token: int) -> None:
        """Calls nothing any more for this token. Call this on the thread of the loop."""
        self._callbacks.pop(token, None)
        if self._ending and not self._callbacks:
            # Nothing is registered under 0: this only wakes the watcher of the inbox.
            self.wake(0)

    def is_needed(self) -> bool:
        """Whether anything waits to be woken. From now on, the watcher of the inbox is woken when that is over. Call
        this on the thread of the loop, when it ends."""
        self._ending = True
        return bool(self._callbacks)

    def wake(self, token: int) -> None:
        """Schedules the callback of a token. From any thread."""
        self.inbox.wake(token)

    def fire(self, token: int) -> None:
        """Calls the callback of a token, if it is still registered. Call this on the thread of the loop."""
        try:
            callback = self._callbacks.get(token)
            if callback is not None:
                callback()
            elif token in self._adopted and self._adopted[token]._at_home():
                del self._adopted[token]
        except Exception:
            logger.exception("a callback has failed")

    def drain(self) -> None:
        """Calls the callbacks of all tokens that have been woken. Call this on the thread of the loop when the inbox is
        readable; only for an inbox that gets nothing but tokens."""
        tokens: list[Any] = self.inbox.drain()
        done = 0
        try:
            for token in tokens:
                self.fire(token)
                done += 1
        finally:
            # After a KeyboardInterrupt, for example, the rest is for the next time.
            for token in tokens[done:]:
                self.wake(token)

    def adopt(self, pending: _core.Pending) -> None:
        """Runs the callbacks and the canceller of a pending on the thread of this loop, if an actor completes or
        cancels it. Keeps it alive until it is done."""
        token = next(self._tokens)
        self._adopted[token] = pending
        if not pending._live_at(self.inbox, token):
            self.wake(token)

    def close(self) -> None:
        """Hands the adopted pendings to `home`: the loop has ended."""
        adopted, self._adopted = self._adopted, {}
        for pending in adopted.values():
            if home is not None and home is not self:
                home.adopt(pending)
            elif not sys.is_finalizing():
                logger.warning("the event loop that was to run the callbacks of %r has ended: they do not run", pending)

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Wakeups of {len(self._callbacks)} callbacks and {len(self._adopted)} pendings at {id(self):#x}>"


def _nothing() -> None:
    return None


class _Local(threading.local):
    def __init__(self) -> None:
        # By the id of an asyncio loop. The loop keeps them alive while it is open, through its reader.
        self.wakeups: dict[int, weakref.ref[Wakeups]] = {}


_local = _Local()

#: A variable of each trio run: its Wakeups. Made lazily, because trio need not be installed.
_of_trio_run: Any = None


def current_library() -> str | None:
    """The library whose event loop runs the calling code: ``asyncio``, ``trio``, None, or one that callboard does not
    support. If one loop runs as the guest of another, the inner one."""
    # trio, and libraries that run asyncio inside of trio, set this. Nothing else tells a trio run inside of an asyncio
    # task from the opposite.
    sniffio = sys.modules.get("sniffio")
    name = None if sniffio is None else sniffio.thread_local.name
    if name is None and asyncio._get_running_loop() is not None:
        return "asyncio"
    return name


def for_current_loop() -> Wakeups:
    """The Wakeups of the event loop that runs the calling code, made if there are none.

    Raises ``RuntimeError`` if there is no event loop, or one that callboard does not know."""
    wakeups = current()
    if wakeups is not None:
        return wakeups
    library = current_library()
    if library not in ("asyncio", "trio"):
        found = "no event loop runs" if library is None else f"callboard does not know the event loop of {library}"
        raise RuntimeError(f"{found} here: do this in asyncio or trio, or wait with wait_sync()")
    wakeups = Wakeups()
    if library == "trio":
        _serve_in_trio(wakeups)
    else:
        loop = asyncio.get_running_loop()
        loop.add_reader(wakeups.inbox.fileno(), wakeups.drain)
        attach(wakeups, loop)
    return wakeups


def current() -> Wakeups | None:
    """The Wakeups of the event loop that runs the calling code, if there are any."""
    if current_library() == "trio":
        in_trio: Wakeups | None = _trio_variable().get(None)
        return in_trio
    return _of_loop(asyncio._get_running_loop())


def of_current_task() -> Wakeups | None:
    """The Wakeups of the event loop whose task runs the calling code, if there are any. None outside of tasks: there,
    in a signal handler for example, the loop of the thread may be asleep and has to be woken."""
    if current_library() == "trio":
        return current() if sys.modules["trio"].lowlevel.in_trio_task() else None
    loop = asyncio._get_running_loop()
    return None if loop is None or asyncio.current_task(loop) is None else _of_loop(loop)


def _of_loop(loop: asyncio.AbstractEventLoop | None) -> Wakeups | None:
    known = _local.wakeups.get(id(loop))
    wakeups = None if known is None else known()
    # A new loop may have the id of one that is gone.
    return wakeups if wakeups is not None and wakeups._loop() is loop else None


def attach(wakeups: Wakeups, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Makes ``wakeups`` those of ``loop``, an asyncio loop of this thread, or else of the event loop that runs the
    calling code. The caller watches their inbox, and keeps and finally closes them."""
    if loop is None and current_library() == "trio":
        _trio_variable().set(wakeups)
    else:
        loop = loop or asyncio.get_running_loop()
        wakeups._loop = weakref.ref(loop)
        known = _local.wakeups
        for gone in [at for at, other in known.items() if other() is None]:
            del known[gone]
        known[id(loop)] = weakref.ref(wakeups)


def adopt(pending: _core.Pending) -> None:
    """Finds the Python thread that runs the callbacks and the canceller of a pending that an actor will complete.

    Raises ``RuntimeError`` if there is none."""
    wakeups = for_current_loop() if current_library() is not None else home
    if wakeups is None:
        raise RuntimeError(
            "no event loop is there to run the callbacks: do this inside of one, or set callboard.aio.wakeups.home"
        )
    wakeups.adopt(pending)


def _trio_variable() -> Any:
    global _of_trio_run
    if _of_trio_run is None:
        import trio

        _of_trio_run = trio.lowlevel.RunVar("callboard_wakeups")
    return _of_trio_run


def _serve_in_trio(wakeups: Wakeups) -> None:
    import trio

    from .watch_trio import watch

    async def serve() -> None:
        try:
            await watch(wakeups.inbox.fileno(), wakeups.drain, wakeups.is_needed)
        finally:
            _trio_variable().set(None)
            wakeups.close()

    trio.lowlevel.spawn_system_task(serve, name="callboard wakeups")
    _trio_variable().set(wakeups)


def _callback_failed(callback: Callable[[Any], object], pending: _core.Pending[Any], error: Exception) -> None:
    """Logs the exception of a callback of a pending."""
    text = "%r, a callback of %r, has failed"
    logging.getLogger("callboard.pending").error(text, callback, pending, exc_info=error)


_core.set_wakeup_hooks(adopt, of_current_task, _callback_failed)
