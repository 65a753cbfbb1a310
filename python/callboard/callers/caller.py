"""A Caller: a thread with an event loop that others give calls to. What users have; the parts are in the other files.

Longer than 400 lines: it documents every argument of the public interface.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

from .. import _core
from ..aio import tracker
from ..aio.loops.make import check_backend, check_guest, check_options
from ..aio.pending import Pending, ProtectedPending, current_pending
from ..aio.tracker import PendingTracker
from ..aio.wakeups import current_library
from .lifecycle import LoopThread
from .registry import CallerCreateOptions, Registry, registry
from .submit import run_later

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from ..aio.group import PendingGroup
    from ..aio.pending import Tracker
    from .function_queue import FunctionQueues
    from .start_stop import StartStopTask

__all__ = ["Caller", "CallerCreateOptions"]

# Asked for once: `getLogger` takes a lock, which an interrupt of a cell that logs may leave taken.
_logger = logging.getLogger("callboard.caller")

C = TypeVar("C", bound="Caller")

_callers: Registry[Caller] = registry


class Caller:
    """Runs functions and coroutine functions in the event loop of its thread.

    There is one Caller for a thread. Whatever it is asked to do, from any thread, returns a `Pending`, which can be
    awaited, waited for and cancelled from anywhere. Its inbox is filled by actors as well, which wake the loop through
    a descriptor: no call, no GIL.

    ``Caller()`` is the one of the calling thread, made if an event loop runs there; ``Caller("MainThread")`` that of
    the main thread; ``Caller("NewThread", name=..., backend=...)`` a new one with a thread of its own, which runs until
    it is stopped. `get` makes children, which stop when their parent stops.

    ``async with caller`` keeps `stop` from stopping it (`protected`). Such contexts can be entered in any task of any
    thread, and more than once; at the end of the last one the Caller stops, and the first one waits for that.
    """

    #: How many idle workers `to_thread` keeps.
    MAX_IDLE_POOL_INSTANCES: ClassVar[int] = 10
    #: How long an idle worker is kept, seconds; 0 keeps it until its parent stops.
    IDLE_WORKER_SHUTDOWN_DURATION: ClassVar[float] = 60
    #: The id that the Caller of the main thread has.
    CALLER_MAIN_THREAD_ID: ClassVar[int] = threading.main_thread().ident or 0

    #: GUI event loops are not there yet.
    host: ClassVar[None] = None
    host_options: ClassVar[None] = None

    #: The id that the Caller of the calling thread has, or would have.
    id_current = staticmethod(threading.get_ident)
    #: The Pending of the call that the calling code runs in.
    current_pending = staticmethod(current_pending.get)

    #: Its name.
    name: str
    #: ``asyncio`` or ``trio``.
    backend: str
    #: Done when it runs, when it is asked to stop, and when it has stopped.
    started: ProtectedPending[None]
    stopping: ProtectedPending[None]
    stopped: ProtectedPending[None]
    log: logging.Logger
    #: Its thread and event loop: for other Callers, the kernel and its cells.
    loop_thread: LoopThread
    #: Made with the first call that is queued.
    _queues: FunctionQueues | None

    # -- which Caller -----------------------------------------------------------------------------------

    def __new__(
        cls,
        modifier: Literal["CurrentThread", "MainThread", "NewThread"] = "CurrentThread",
        /,
        *,
        name: str = "",
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        host: str | None = None,
        host_options: dict[str, Any] | None = None,
        no_debug: bool = False,
    ) -> Self:
        """Finds or makes a Caller.

        Raises `RuntimeError` if there is none and none can be made (no event loop runs in the thread), `ValueError` if
        the one that is found has another name or backend.
        """
        _refuse_host(host)
        if modifier == "NewThread":
            backend = str(backend or current_library() or "asyncio")
            check_backend(backend)
            check_options(backend, backend_options)
            actor = _core.CallerHandle.free(
                name or "callboard_caller", backend, (backend_options or {}).get("use_uvloop")
            )
            caller = cls.of(actor)
            caller.loop_thread.start(backend_options, no_debug)
            return caller
        if modifier not in ("CurrentThread", "MainThread"):
            msg = f"{modifier!r} is no modifier: use CurrentThread, MainThread or NewThread"
            raise ValueError(msg)
        thread = threading.main_thread() if modifier == "MainThread" else threading.current_thread()
        is_here = thread is threading.current_thread()
        if (found := _callers.find(thread, name, backend)) is not None:
            return found  # type: ignore[no-any-return]
        running = current_library()
        if not is_here or running is None:
            msg = f"no event loop runs in {thread.name}: there is no Caller for it. Use Caller('NewThread')"
            raise RuntimeError(msg)
        if backend and str(backend) != running:
            msg = f"the event loop of this thread is {running}'s, not {backend}'s"
            raise ValueError(msg)
        caller = cls.of(_core.CallerHandle.free(name or thread.name, running))
        caller.loop_thread.join_running_loop()
        return caller

    @classmethod
    def of(cls, actor: _core.CallerHandle) -> Self:
        """The Caller of an actor: see `Registry.of`."""
        return _callers.of(actor, partial(_make, cls))  # type: ignore[return-value]

    @classmethod
    def get_existing(cls, caller_id: int | None = None, /) -> Caller | None:
        """The Caller of the thread with this ident (of the calling thread without one), if there is one."""
        return _callers.by_thread.get(threading.get_ident() if caller_id is None else caller_id)

    @classmethod
    def all_callers(cls) -> list[Caller]:
        """All Callers that have not stopped, oldest first."""
        return _callers.all()

    # -- properties -------------------------------------------------------------------------------------

    @property
    def id(self) -> int:
        """The ident of its thread."""
        return self.loop_thread.calls.ident

    @property
    def backend_options(self) -> dict[str, Any] | None:
        """The options that its event loop was made with."""
        return self.loop_thread.all_options() or None

    @property
    def thread(self) -> threading.Thread | None:
        """Its thread."""
        return self.loop_thread.thread

    @property
    def parent(self) -> Caller | None:
        """The Caller that stops it."""
        parent = self.loop_thread.parent()
        return None if parent is None else parent.caller()

    @property
    def children(self) -> set[Caller]:
        """The Callers that stop when this one stops, without those that are stopping."""
        children = {child.caller() for child in self.loop_thread.children.copy()}
        return {child for child in children if child is not None and not child.stopping.done()}

    @property
    def protected(self) -> bool:
        """Whether only ``stop(force=True)`` stops it. Can be set, but not taken back."""
        return self.loop_thread.is_protected

    @protected.setter
    def protected(self, value: bool) -> None:
        if not value:
            msg = "the protection of a Caller cannot be taken back: stop it with stop(force=True)"
            raise ValueError(msg)
        self.loop_thread.is_protected = True

    def __repr__(self) -> str:
        here = "here" if self.id == threading.get_ident() else "elsewhere"
        count = len(self.children)
        children = f" {count} children" if count > 1 else " 1 child" if count else ""
        protected = " protected" if self.protected else ""
        state = self.loop_thread.status
        return f"<Caller {self.name!r} {state} {here}{protected} backend={self.backend} id={self.id}{children}>"

    # -- the end ----------------------------------------------------------------------------------------

    def stop(self, *, force: bool = False) -> ProtectedPending[None] | None:
        """Stops it and its children: no call is begun any more; those that run are cancelled, but a `StartStopTask` is
        told to stop. Returns `stopped`; None, with a warning, if it is protected and not forced: then it goes on."""
        if self.protected and not force:
            msg = f"the Caller {self.name!r} is protected and goes on: stop it with stop(force=True)"
            warnings.warn(msg, RuntimeWarning, stacklevel=2)
            return None
        self.loop_thread.stop()
        return self.stopped

    async def __aenter__(self) -> Self:
        from .contexts import enter

        await enter(self.loop_thread)
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        from .contexts import leave

        await leave(self.loop_thread)

    # -- calls ------------------------------------------------------------------------------------------

    def get(
        self,
        *,
        name: str = "",
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        host: str | None = None,
        host_options: dict[str, Any] | None = None,
        no_debug: bool = False,
    ) -> Caller:
        """The child with this name, made if there is none; without a name always a new one. It takes its backend from
        its parent, unless one is given.

        Raises `RuntimeError` if the child runs on another backend, or if this Caller is stopping.
        """
        from .workers import get_child

        _refuse_host(host)
        backend = None if backend is None else str(backend)
        if backend is not None:
            check_backend(backend)
        check_options(backend or self.backend, backend_options)
        if backend_options is None and backend in (None, self.backend):
            backend_options = self.loop_thread.options
        child: Caller = get_child(self.loop_thread, name, backend, backend_options, no_debug)
        return child

    def schedule_call(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: contextvars.Context | None = None,
        trackers: type[Tracker] | tuple[type[Tracker], ...] = PendingTracker,
        backend: str | None = None,
        /,
        **metadata: Any,
    ) -> Pending[Any]:
        """Runs ``func(*args, **kwargs)`` as a task in this Caller's thread, and awaits what it returns if that is a
        coroutine.

        Args:
            context: A context to copy; without one the current context is copied.
            trackers: Which trackers the Pending is registered with.
            backend: Whose event loop: this Caller's own, or the other one as guest in the same thread.
            **metadata: More for `Pending.metadata`.
        """
        if backend is not None:
            backend = str(backend)
            if backend != self.backend:
                check_guest(self.backend, backend)
                metadata["backend"] = backend
        if context is None and not trackers:
            context = contextvars.copy_context()
        pen: Pending[Any] = Pending(context, trackers, func=func, args=args, kwargs=kwargs, caller=self, **metadata)
        self.loop_thread.submitted.give(pen)
        return pen

    def call_soon(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Pending[Any]:
        """Runs the function as a task in this Caller's thread."""
        return self.schedule_call(func, args, kwargs)

    def call_later(self, delay: float, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Pending[Any]:
        """Runs the function as a task in this Caller's thread, `delay` seconds from now at the earliest."""
        return self.schedule_call(run_later, (time.monotonic() + delay, func, args, kwargs), {})

    def call_direct(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Calls the function in this Caller's thread, in its event loop itself: no task, no context of its own. For
        functions that are quick and raise nothing; what they raise is logged. A Caller that has stopped drops it."""
        self.loop_thread.submitted.give((func, args, kwargs))

    def call_using_backend(self, backend: str, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Pending[Any]:
        """Runs the function as a task of this backend (``asyncio`` or ``trio``) in this Caller's thread: in its own
        event loop, or in the other one as its guest."""
        return self.schedule_call(func, args, kwargs, None, PendingTracker, backend)

    def to_thread(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Pending[Any]:
        """Runs the function in the thread of a worker: a child that has nothing else to do. Idle workers are kept, up
        to `MAX_IDLE_POOL_INSTANCES`, for `IDLE_WORKER_SHUTDOWN_DURATION` seconds.

        Raises `RuntimeError` if this Caller is stopping."""
        from .workers import call_in_worker

        return call_in_worker(self.loop_thread, None, func, args, kwargs)

    def let_end(self, pen: Pending[Any]) -> None:
        """Does not cancel this call when the Caller stops: it has been told to end, and the Caller waits for it."""
        self.loop_thread.calls.let_end(pen)

    # -- queues -----------------------------------------------------------------------------------------

    def queue_call(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Puts a call at the end of the queue that this Caller has for this function, and runs the calls of that queue
        one after the other. The queue runs in the context of the first call, until `queue_close` is called or the
        function is deleted. What a call raises is logged. A Caller that has stopped drops it."""
        queues = self._queues
        if queues is None:
            from .function_queue import FunctionQueues

            with registry.lock:
                if self._queues is None:
                    self._queues = FunctionQueues(self.loop_thread.status)
                queues = self._queues
        queues.call(self, func, args, kwargs)

    def queue_get(self, func: Callable[..., Any]) -> Pending[None] | None:
        """The Pending of the task that runs the queue of this function; None if there is no such queue."""
        return None if self._queues is None else self._queues.get(func)

    def queue_close(self, func: Callable[..., Any] | int) -> None:
        """Ends the queue of this function (or of the function with this hash); calls that wait are dropped."""
        if self._queues is not None:
            self._queues.close(func)

    # -- many at once -----------------------------------------------------------------------------------

    def as_completed(
        self,
        items: Iterable[Awaitable[Any]] | AsyncGenerator[Awaitable[Any], None],
        *,
        max_concurrent: int | None = None,
        cancel_unfinished: bool = True,
    ) -> AsyncGenerator[Pending[Any], None]:
        """Yields each item as a `Pending` that is done, in the order in which they become so.

        Args:
            items: Awaitables: a list, tuple or set, or a generator (also an asynchronous one), which runs in this
                Caller's thread.
            max_concurrent: How many items of a generator are unfinished at the same time; 0 for any number. Without it
                `MAX_IDLE_POOL_INSTANCES`.
            cancel_unfinished: Cancel those that are not done when the iteration is left.
        """
        from ..aio.wait import as_completed

        limit = self.MAX_IDLE_POOL_INSTANCES if max_concurrent is None else max_concurrent
        return as_completed(self, items, limit, cancel_unfinished)

    async def wait(
        self,
        items: Iterable[Awaitable[Any]],
        *,
        shield: bool = False,
        timeout: float | None = None,
        return_when: Literal["FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"] = "ALL_COMPLETED",
    ) -> tuple[set[Pending[Any]], set[Pending[Any]]]:
        """Waits for awaitables, as `asyncio.wait` does; returns those that are done and those that are not.

        Args:
            shield: Go on waiting when the calling task is cancelled.
            timeout: Seconds; when they are over it returns, and raises nothing.
            return_when: As for `asyncio.wait`.
        """
        from ..aio.wait import wait

        return await wait(self, items, shield, timeout, return_when)

    def create_pending_group(
        self, *, shield: bool = False, mode: Literal[0, 1, 2, 3] = 0, timeout: float | None = None
    ) -> PendingGroup:
        """An asynchronous context that ends when all calls made in it have ended: see `PendingGroup`."""
        from ..aio.group import PendingGroup

        return PendingGroup(shield=shield, mode=mode, timeout=timeout)

    def create_start_stop_task(self, func: Callable[..., Awaitable[Any]], /) -> StartStopTask:
        """A task that is started, and stopped by being told so rather than cancelled: see `StartStopTask`."""
        from .start_stop import StartStopTask

        return StartStopTask().set_task_function(func, caller=self)


def _refuse_host(host: str | None) -> None:
    if host:
        msg = f"callboard has no GUI event loop ({host!r}) yet: leave out host"
        raise RuntimeError(msg)


def _make(cls: type[C], actor: _core.CallerHandle) -> C:
    caller = object.__new__(cls)
    caller.name, caller.backend, caller.log = actor.name, actor.backend, _logger
    caller.loop_thread = LoopThread(actor, caller)
    status = caller.loop_thread.status
    caller.started, caller.stopping, caller.stopped = status.started, status.stopping, status.stopped
    caller._queues = None
    return caller


def _of_thread(ident: int) -> Caller | None:
    return Caller() if ident == threading.get_ident() else Caller.get_existing(ident)


registry.make = partial(_make, Caller)
tracker.caller_of_thread = _of_thread
