"""Results that are not there yet, and what keeps track of them.

A :class:`Pending` is what a :class:`callboard.Caller` returns for a call. Its state lives in Rust
(``src/pending.rs``), so that it can be completed, cancelled and waited for from any thread, with or without an event
loop, and by an actor without the GIL.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
import operator
import reprlib
import threading
import time
import uuid
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, final, overload

from .. import _core
from .._core import PendingCancelled, PendingNotDone
from . import cancel_scope
from .cancellation import cancelled_class, current_task
from .wakeups import current_library, for_current_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import TracebackType
    from typing import Self

    from ..callers.caller import Caller

__all__ = [
    "Pending",
    "PendingCancelled",
    "PendingGroup",
    "PendingManager",
    "PendingNotDone",
    "PendingTracker",
    "ProtectedPending",
    "Running",
    "current_pending",
]

logger = logging.getLogger("callboard.pending")

T_co = TypeVar("T_co", covariant=True)

#: The pending of the call that the code belongs to. Who makes such a call uses :class:`Running`.
current_pending: contextvars.ContextVar[Pending[Any] | None] = contextvars.ContextVar("callboard_pending", default=None)


class PendingTracker:
    """Keeps track of the pendings that are made in a context. To be subclassed; at most one instance of each subclass
    is active in a context.

    Every pending looks at every subclass, so make few of them, and only when they are needed.
    """

    _subclasses: ClassVar[tuple[type[PendingTracker], ...]] = ()
    _instances: ClassVar[weakref.WeakValueDictionary[str, PendingTracker]] = weakref.WeakValueDictionary()
    #: The id of the active instance; of each subclass its own. Ids, so that no context keeps a tracker alive.
    _active: ClassVar[contextvars.ContextVar[str | None]]
    _lock: ClassVar[threading.Lock] = threading.Lock()

    #: The unique id of the instance.
    id: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("_abstract", False):
            return
        cls._active = contextvars.ContextVar(f"{cls.__module__}.{cls.__qualname__}", default=None)
        with PendingTracker._lock:
            PendingTracker._subclasses = (*PendingTracker._subclasses, cls)

    def __init__(self) -> None:
        if not hasattr(type(self), "_active"):
            raise TypeError(f"{type(self).__name__} keeps track of nothing by itself: make a subclass of it")
        self.id = str(uuid.uuid4())
        self._pending: set[Pending[Any]] = set()
        PendingTracker._instances[self.id] = self

    @property
    def pending(self) -> set[Pending[Any]]:
        """The pendings that are tracked and not done: a copy."""
        return self._pending.copy()

    @classmethod
    def current(cls) -> Self | None:
        """The instance that is active in the current context, if there is one."""
        return cls._instances.get(cls._active.get() or "")  # type: ignore[return-value]

    @classmethod
    def active_id(cls) -> str | None:
        """The id of the instance that is active in the current context."""
        return cls._active.get()

    def add(self, pen: Pending[Any]) -> None:
        """Tracks ``pen`` until it is done."""
        if not pen.done() and pen not in self._pending:
            self._pending.add(pen)
            pen.add_done_callback(self._on_pending_done)

    def _on_pending_done(self, pen: Pending[Any]) -> None:
        self._pending.discard(pen)

    def _activate(self) -> contextvars.Token[str | None]:
        return self._active.set(self.id)

    def _deactivate(self, token: contextvars.Token[str | None]) -> None:
        self._active.reset(token)


class PendingManager(PendingTracker):
    """Keeps track of the pendings that are made in the contexts it is activated in. To be subclassed.

    Activating an instance takes the place of the one of the same subclass that was active there::

        class Downloads(PendingManager):
            "The downloads of one user."


        downloads = Downloads()
        with downloads.context():
            caller.call_soon(fetch, url)
        ...
        for pending in downloads.pending:
            pending.cancel("the user has gone")
    """

    _abstract = True

    def activate(self) -> contextvars.Token[str | None]:
        """Tracks pendings in the current context from now on. Returns a token for :meth:`deactivate`."""
        return self._activate()

    def deactivate(self, token: contextvars.Token[str | None]) -> None:
        """Ends what :meth:`activate` has begun, in the same context."""
        self._deactivate(token)

    def remove(self, pen: Pending[Any]) -> None:
        """Tracks ``pen`` no longer."""
        self._pending.discard(pen)

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Tracks pendings inside of a ``with`` block."""
        token = self.activate()
        try:
            yield
        finally:
            self.deactivate(token)


@final
class PendingGroup(PendingTracker):
    """Waits at its end for all pendings that were made in it, and cancels them together::

        async with PendingGroup() as group:
            group.caller.to_thread(work)
            group.caller.call_soon(more_work)
        # Both are done.

    If one of them fails, the group is cancelled: the body, and all that is still pending. The errors come out as an
    ``ExceptionGroup``. If the body fails, or is cancelled from outside, the group is cancelled too, and what the body
    raised comes out. In each case the end waits until all pendings are done, for at most ``cancellation_timeout``
    seconds.

    A pending belongs to it if it was made in its context by a call of a Caller, or with ``PendingGroup`` or
    ``PendingTracker`` among its trackers. A group inside of another shares its pendings with that.

    Can be used once, under asyncio and trio.
    """

    #: How long the end waits for pendings that were cancelled, seconds.
    cancellation_timeout: float = 10

    def __init__(self, *, mode: Literal[0, 1, 2, 3] = 0, shield: bool = False, timeout: float | None = None) -> None:
        """``mode`` says what the cancellation of one of its pendings does, and what comes out of a cancelled group in
        which nothing has failed:

        ====  ====================================  ===========================
        mode  when one of its pendings is cancelled  what a cancelled group does
        ====  ====================================  ===========================
        0     nothing                               ends quietly
        1     the group is cancelled                raises ``PendingCancelled``
        2     the group is cancelled                ends quietly
        3     nothing                               raises ``PendingCancelled``
        ====  ====================================  ===========================

        With ``shield`` it is not cancelled with the scopes around it: those of trio, or of anyio. (Nothing keeps
        ``asyncio.Task.cancel()`` out.) After ``timeout`` seconds the group is cancelled.
        """
        if mode not in (0, 1, 2, 3):
            raise ValueError(f"mode is 0, 1, 2 or 3, not {mode!r}")
        super().__init__()
        self._mode = mode
        self._shield = shield
        self._timeout = timeout
        self._thread = threading.get_ident()
        self._caller: Caller | None = None
        self._parent_id: str | None = None
        self._scope: cancel_scope.CancelScope | None = None
        self._cancelled: str | None = None
        self._errors: list[BaseException] = []
        #: Completed when nothing is pending any more, while somebody waits for that.
        self._empty: Pending[None] | None = None

    def __repr__(self) -> str:
        cancelled = " cancelled" if self._cancelled is not None else ""
        return f"<PendingGroup{cancelled} mode={self._mode} pending={len(self._pending)} at {id(self):#x}>"

    @property
    def caller(self) -> Caller:
        """The Caller of the thread in which the group was made."""
        if self._caller is None:
            from ..callers.caller import Caller

            if threading.get_ident() == self._thread:
                self._caller = Caller()
            elif (caller := Caller.get_existing(self._thread)) is not None:
                self._caller = caller
            else:
                raise RuntimeError("the thread in which this group was made has no Caller: ask for it there first")
        return self._caller

    def add(self, pen: Pending[Any]) -> None:
        """Makes ``pen`` one of this group, and of the group around it."""
        if pen not in self._pending:
            self._pending.add(pen)
            pen.add_done_callback(self._on_pending_done)
        parent = self._instances.get(self._parent_id or "")
        if parent is not None:
            parent.add(pen)

    def cancel(self, msg: str | None = None) -> bool:
        """Cancels the body and all its pendings. From any thread. Returns True."""
        known, self._cancelled = self._cancelled, "\n".join(filter(None, (self._cancelled, msg)))
        if known is None:
            if self._scope is not None:
                self._scope.cancel()
            for pen in self.pending:
                try:
                    pen.cancel(msg)
                except Exception:
                    logger.exception("%r cannot be cancelled", pen)
        return True

    def cancelled(self) -> bool:
        """Whether the group was cancelled."""
        return self._cancelled is not None

    def _on_pending_done(self, pen: Pending[Any]) -> None:
        if pen not in self._pending:
            return
        if pen.cancelled():
            if self._mode in (1, 2):
                self.cancel(f"one of the group was cancelled: {pen}")
        elif (error := pen.exception()) is not None:
            self._errors.append(error)
            self.cancel(f"one of the group has failed: {pen}")
        self._pending.discard(pen)
        # In this order, and who waits does the opposite: so one of the two sees the other.
        if not self._pending and (empty := self._empty) is not None:
            empty.set_result(None)

    async def _wait_until_empty(self, *, shield: bool = False, timeout: float | None = None) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        while self._pending:
            self._empty = empty = Pending()
            if not self._pending:
                return
            left = None if end is None else end - time.monotonic()
            await empty.wait(result=False, shield=shield, timeout=left)

    async def __aenter__(self) -> Self:
        if self._scope is not None:
            raise RuntimeError("a PendingGroup can be used once: make another")
        self._parent_id = self.active_id()
        outer = None if (parent := self.current()) is None else parent._scope
        self._scope = cancel_scope.new_scope(shield=self._shield, timeout=self._timeout, outer=outer)
        self._token = self._activate()
        self._scope.__enter__()
        if self._cancelled is not None:
            self._scope.cancel()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        assert self._scope is not None
        error = exc
        if error is None:
            try:
                await self._wait_until_empty()
            except BaseException as problem:  # noqa: BLE001 - it comes out below
                error = problem
        if error is not None:
            self.cancel(f"the body has ended with {error!r}")
        try:
            if error is None:
                ends_here = self._scope.__exit__(None, None, None)
            else:
                ends_here = self._scope.__exit__(type(error), error, error.__traceback__)
        finally:
            self._deactivate(self._token)
            self._instances.pop(self.id, None)
            # Nobody can wait for the end in a coroutine that is thrown away.
            if self._pending and not isinstance(error, GeneratorExit):
                await self._wait_for_the_rest()
        if error is not None and not ends_here:
            if error is exc:
                return False
            raise error
        if self._errors:
            raise BaseExceptionGroup("what failed in this PendingGroup", self._errors)
        if self._cancelled is not None and self._mode in (1, 3):
            raise PendingCancelled(self._cancelled)
        return True

    async def _wait_for_the_rest(self) -> None:
        try:
            await self._wait_until_empty(shield=True, timeout=self.cancellation_timeout)
        except TimeoutError:
            text = "%d pendings have not ended %s seconds after they were cancelled, and are left behind: %r"
            logger.warning(text, len(self._pending), self.cancellation_timeout, self.pending)


class Pending(_core.Pending, Generic[T_co]):
    """A result that is not there yet: it can be waited for, completed and cancelled from any thread, with or without an
    event loop, under asyncio and trio.

    ``await pending`` or :meth:`wait` for it in an event loop, :meth:`wait_sync` in a plain thread. :meth:`cancel` it
    from anywhere. Who makes the result calls :meth:`set_result` or :meth:`set_exception`, and may
    :meth:`set_canceller`.
    """

    __slots__ = ("_metadata", "_runner", "context")

    #: What a repr leaves out of the metadata of a call.
    _REPR_OMIT: ClassVar[tuple[str, ...]] = ("func", "args", "kwargs", "caller")

    #: Whether a wait that is cancelled or takes too long leaves the pending alone.
    _protected: ClassVar[bool] = False

    #: A copy of the context it was made with, if it needs one. Calls run in it.
    context: contextvars.Context | None

    #: What was given as keyword arguments, for whoever made the pending.
    metadata = property(operator.attrgetter("_metadata"))

    def __init__(
        self,
        context: contextvars.Context | None = None,
        trackers: type[PendingTracker] | tuple[type[PendingTracker], ...] = (),
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
        for kind in PendingTracker._subclasses:
            active = self.context.get(kind._active)
            if active is None:
                continue
            tracker = PendingTracker._instances.get(active) if trackers and issubclass(kind, trackers) else None
            if tracker is None:
                self.context.run(kind._active.set, None)
            else:
                tracker.add(self)

    if TYPE_CHECKING:
        metadata: dict[str, Any]

        def set_result(self, value: T_co) -> None: ...  # type: ignore[misc]
        def set_exception(self, exception: BaseException) -> None: ...
        def cancel(self, msg: str | None = None) -> bool: ...
        def cancelled(self) -> bool: ...
        def done(self) -> bool: ...
        def result(self) -> T_co: ...
        def exception(self) -> BaseException | None: ...
        def set_canceller(self, canceller: Callable[[str | None], Any], /) -> None: ...
        def add_done_callback(self, fn: Callable[[Self], Any], /) -> None: ...
        def remove_done_callback(self, fn: Callable[[Self], object], /) -> int: ...

        @overload
        async def wait(
            self, *, timeout: float | None = ..., protect: bool = ..., result: Literal[True] = ..., shield: bool = ...
        ) -> T_co: ...
        @overload
        async def wait(
            self, *, timeout: float | None = ..., protect: bool = ..., result: Literal[False], shield: bool = ...
        ) -> None: ...
        @overload
        def wait_sync(
            self, *, timeout: float | None = ..., protect: bool = ..., result: Literal[True] = ..., shield: bool = ...
        ) -> T_co: ...
        @overload
        def wait_sync(
            self, *, timeout: float | None = ..., protect: bool = ..., result: Literal[False], shield: bool = ...
        ) -> None: ...

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
        if self._runner is None or self._runner[0] is current_task():
            raise RuntimeError(f"this is the call of {self!r}: to wait here for its own end would never end")

    def _refuse_to_block_my_thread(self) -> None:
        runs_here = self._runner is not None and self._runner[1] == threading.get_ident()
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
    """``with Running(pending)`` around a call, and around the wait for it if it is a coroutine, says that this task
    makes the result of ``pending``. It is the :data:`current_pending` there, and waiting for it, which would never
    end, is refused."""

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
            await (cancel_scope.shielded(future) if shield else future)
    except asyncio.CancelledError as error:
        # A group is cancelled when one of its pendings fails. Who waits for that very one is to see why.
        if not (pending.done() and cancel_scope.not_yet(error)):
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
