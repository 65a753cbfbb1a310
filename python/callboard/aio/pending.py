"""Pendings: results of calls that have not ended.

A :class:`callboard.Caller` returns a :class:`Pending` for each call. Its state lives in Rust
(``src/delivery/pending.rs``), so that it can be completed, cancelled and waited for from any thread, with or without an
event loop, and by an actor without the GIL.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import operator
import reprlib
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from .. import _core
from .._core import PendingCancelled, PendingNotDone
from .cancellation import cancelled_class, current_task
from .wakeups import current_library, for_current_loop

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Literal

__all__ = [
    "Pending",
    "PendingCancelled",
    "PendingNotDone",
    "ProtectedPending",
    "Running",
    "Tracker",
    "current_pending",
]

T_co = TypeVar("T_co", covariant=True)

#: The pending of the call that the code belongs to. Set by :class:`Running`.
current_pending: contextvars.ContextVar[Pending[Any] | None] = contextvars.ContextVar("callboard_pending", default=None)


class Tracker:
    """The part of `callboard.PendingTracker` that a pending needs."""

    _subclasses: ClassVar[tuple[type[Tracker], ...]] = ()
    #: By id.
    _instances: ClassVar[weakref.WeakValueDictionary[str, Tracker]] = weakref.WeakValueDictionary()
    #: The id of the active instance; of each subclass its own. Ids, so that no context keeps a tracker alive.
    _active: ClassVar[contextvars.ContextVar[str | None]]

    def add(self, pen: Pending[Any]) -> None:
        """Tracks ``pen`` until it is done."""
        raise NotImplementedError


class Pending(_core.Pending[T_co]):
    """A result that is not there yet: it can be waited for, completed and cancelled from any thread, with or without an
    event loop, under asyncio and trio.

    ``await pending`` or :meth:`wait` for it in an event loop, :meth:`wait_sync` in a plain thread. :meth:`cancel` it
    from anywhere. The code that makes the result calls :meth:`set_result` or :meth:`set_exception`, and may call
    :meth:`set_canceller`.
    """

    __slots__ = ("_metadata", "_runner", "context")

    #: The metadata of a call that its repr leaves out.
    _REPR_OMIT: ClassVar[tuple[str, ...]] = ("func", "args", "kwargs", "caller")

    #: Whether a wait that is cancelled or takes too long leaves the pending alone.
    _protected: ClassVar[bool] = False

    #: A copy of the context it was made with, if it needs one. Calls run in it.
    context: contextvars.Context | None

    if TYPE_CHECKING:

        @property
        def metadata(self) -> dict[str, Any]:
            """The keyword arguments that it was made with."""
    else:
        # A property without a Python call: a call of a Caller looks at it.
        metadata = property(operator.attrgetter("_metadata"), doc="The keyword arguments that it was made with.")

    def __init__(
        self,
        context: contextvars.Context | None = None,
        trackers: type[Tracker] | tuple[type[Tracker], ...] = (),
        /,
        **metadata: Any,
    ) -> None:
        """``trackers`` says which kinds of trackers may track it: a subclass of :class:`PendingTracker` or several. It
        is tracked by those that are active in ``context``, or else in the current context.

        If a context or trackers are given, :attr:`context` becomes a copy of that context, in which only those
        trackers are active that track this pending.
        """
        self._metadata = metadata
        #: The task and the thread that run it, while they do.
        self._runner: tuple[object, int] | None = None
        if context is None and not trackers:
            self.context = None
            return
        self.context = contextvars.copy_context() if context is None else context.copy()
        for kind in Tracker._subclasses:
            active = self.context.get(kind._active)
            if active is None:
                continue
            tracker = Tracker._instances.get(active) if trackers and issubclass(kind, trackers) else None
            if tracker is None:
                self.context.run(kind._active.set, None)
            else:
                tracker.add(self)

    def __repr__(self) -> str:
        parts = [type(self).__name__]
        if (message := self._message) is not None:
            parts.append(f"cancelled={message!r}" if message else "cancelled")
            if not self.done():
                parts.append("ending")
        elif not self.done():
            parts.append("open")
        elif (error := self.exception()) is not None:
            parts.append(f"error={error!r}")
        else:
            parts.append("done")
        metadata = getattr(self, "_metadata", {})
        if "func" in metadata:
            parts.append(f"func={_short.repr(metadata['func'])}")
            metadata = {name: value for name, value in metadata.items() if name not in self._REPR_OMIT}
        parts += (f"{name}={_short.repr(value)}" for name, value in metadata.items())
        return f"<{' '.join(parts)} at {id(self):#x}>"

    def __await__(self) -> Generator[Any, None, T_co]:
        return self.wait().__await__()

    @overload
    async def wait(
        self, *, timeout: float | None = ..., protect: bool = ..., result: Literal[True] = ..., shield: bool = ...
    ) -> T_co: ...
    @overload
    async def wait(
        self, *, timeout: float | None = ..., protect: bool = ..., result: Literal[False], shield: bool = ...
    ) -> None: ...
    @overload
    async def wait(
        self, *, timeout: float | None = ..., protect: bool = ..., result: bool, shield: bool = ...
    ) -> T_co | None: ...
    async def wait(
        self, *, timeout: float | None = None, protect: bool = False, result: bool = True, shield: bool = False
    ) -> Any:
        """Waits until it is done. Returns its result, or None if ``result`` is false.

        If the wait is cancelled, or takes more than ``timeout`` seconds, the pending is cancelled too, unless
        ``protect`` is true. With ``shield`` the wait goes on when it is cancelled from outside; under asyncio the
        cancellation takes effect afterwards.

        Raises ``TimeoutError`` after ``timeout`` seconds; if ``result`` is true, ``PendingCancelled`` if it was
        cancelled, and the exception it ended with; ``RuntimeError`` in the very call it stands for, which would wait
        for itself, and where no event loop runs. To wait for the end of a cancelled pending, use
        ``wait(result=False)``.
        """
        if not self.done():
            self._refuse_to_wait_for_myself()
            timeout = _seconds(timeout)
            trio = current_library() == "trio"
            try:
                await (_wait_in_trio if trio else _wait_in_asyncio)(self, timeout, shield)
            except cancelled_class():
                if not (protect or self._protected):
                    self.cancel("a wait for it was cancelled")
                raise
            if not self.done():
                self._took_too_long(timeout, protect)
        return self.result() if result else None

    @overload
    def wait_sync(
        self, *, timeout: float | None = ..., protect: bool = ..., result: Literal[True] = ..., shield: bool = ...
    ) -> T_co: ...
    @overload
    def wait_sync(
        self, *, timeout: float | None = ..., protect: bool = ..., result: Literal[False], shield: bool = ...
    ) -> None: ...
    @overload
    def wait_sync(
        self, *, timeout: float | None = ..., protect: bool = ..., result: bool, shield: bool = ...
    ) -> T_co | None: ...
    def wait_sync(
        self, *, timeout: float | None = None, protect: bool = False, result: bool = True, shield: bool = False
    ) -> Any:
        """Blocks the thread until it is done. Returns its result, or None if ``result`` is false.

        If that takes more than ``timeout`` seconds, the pending is cancelled too, unless ``protect`` is true. An
        interrupt ends the wait and leaves the pending alone. (Nothing else ends it, so ``shield`` has no meaning
        here.)

        Raises ``TimeoutError`` after ``timeout`` seconds; if ``result`` is true, ``PendingCancelled`` if it was
        cancelled, and the exception it ended with; ``RuntimeError`` in the thread that has to make the result, which
        would wait for itself.
        """
        if not self.done():
            self._refuse_to_block_my_thread()
            timeout = _seconds(timeout)
            if not self._wait(timeout):
                self._took_too_long(timeout, protect)
        return self.result() if result else None

    async def cancel_wait(self, msg: str | None = None, *, timeout: float | None = None, shield: bool = False) -> None:
        """Cancels it and waits until it is done. The arguments are those of :meth:`cancel` and :meth:`wait`.

        Raises ``TimeoutError`` after ``timeout`` seconds.
        """
        self.cancel(msg)
        await self.wait(result=False, timeout=timeout, shield=shield)

    def _took_too_long(self, timeout: float | None, protect: bool) -> None:
        if not (protect or self._protected):
            self.cancel(f"it was not done after {timeout} seconds")
        raise TimeoutError(f"{self!r} was not done after {timeout} seconds")

    def _refuse_to_wait_for_myself(self) -> None:
        # If it is cancelled, that ends the wait.
        if current_pending.get() is not self or self.cancelled():
            return
        # A task that the call has started may wait for the call.
        runner = self._runner
        if runner is None or runner[0] is current_task():
            raise RuntimeError(f"this is the call of {self!r}: to wait here for its own end would never end")

    def _refuse_to_block_my_thread(self) -> None:
        # It may end at any moment.
        runner = self._runner
        runs_here = runner is not None and runner[1] == threading.get_ident()
        thread = getattr(self._metadata.get("caller"), "thread", None)
        if runs_here or thread is threading.current_thread():
            raise RuntimeError(
                f"this thread has to run {self!r}, and to block it would never end: await it, or use another thread"
            )


class ProtectedPending(Pending[T_co]):
    """A pending that is not cancelled when a wait for it is cancelled or takes too long."""

    __slots__ = ()

    _protected = True


class Running:
    """``with Running(pending)`` marks the current task as the one that makes the result of ``pending``: put it around a
    call, and around the wait for its coroutine. There ``pending`` is the :data:`current_pending`, and waiting for it,
    which would never end, is refused."""

    __slots__ = ("_pending", "_token")

    def __init__(self, pending: Pending[Any]) -> None:
        self._pending = pending

    def __enter__(self) -> None:
        self._token = current_pending.set(self._pending)
        self._pending._runner = (current_task(), threading.get_ident())

    def __exit__(self, *_: object) -> None:
        self._pending._runner = None
        current_pending.reset(self._token)


_short = reprlib.Repr()
_short.maxlevel = 1
_short.maxother = 100


def _seconds(timeout: float | None) -> float | None:
    """A timeout that every event loop understands."""
    if timeout is None or timeout == math.inf:
        return None
    if math.isnan(timeout):
        raise ValueError("a timeout is a number of seconds, not nan")
    return max(timeout, 0)


async def _wait_in_asyncio(pending: _core.Pending, timeout: float | None, shield: bool) -> None:
    """Returns when it is done or the time is up."""
    wakeups = for_current_loop()
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    token = wakeups.register(wake)
    waiter = pending._on_done(wakeups.inbox, token)
    timer = None
    try:
        if waiter is not None:
            if timeout is not None:
                timer = loop.call_later(timeout, wake)
            if shield:
                from .cancel_scope import shielded

                await shielded(future)
            else:
                await future
    except asyncio.CancelledError as error:
        # A group is cancelled when one of its pendings fails. A wait for that very one raises its error instead.
        from .cancel_scope import not_yet

        if not (pending.done() and not_yet(error)):
            raise
    finally:
        wakeups.forget(token)
        if waiter is not None:
            pending._forget(waiter)
        if timer is not None:
            timer.cancel()


async def _wait_in_trio(pending: _core.Pending, timeout: float | None, shield: bool) -> None:
    """Returns when it is done or the time is up."""
    import trio

    wakeups = for_current_loop()
    task = trio.lowlevel.current_task()

    def wake() -> None:
        # A task may be rescheduled once.
        wakeups.forget(token)
        trio.lowlevel.reschedule(task)

    def abort(_: object) -> trio.lowlevel.Abort:
        if pending.done():
            # The wake-up is on its way. The task can be cancelled when it waits the next time.
            return trio.lowlevel.Abort.FAILED
        wakeups.forget(token)
        return trio.lowlevel.Abort.SUCCEEDED

    token = wakeups.register(wake)
    waiter = pending._on_done(wakeups.inbox, token)
    if waiter is None:
        wakeups.forget(token)
        return
    try:
        if timeout is None and not shield:
            await trio.lowlevel.wait_task_rescheduled(abort)
        else:
            deadline = math.inf if timeout is None else trio.current_time() + timeout
            with trio.CancelScope(deadline=deadline, shield=shield):
                await trio.lowlevel.wait_task_rescheduled(abort)
    finally:
        pending._forget(waiter)
