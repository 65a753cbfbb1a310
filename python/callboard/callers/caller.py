"""A Caller: a thread with an event loop that others give calls to."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import inspect
import logging
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Coroutine
from types import GeneratorType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypedDict

from .. import _core
from ..aio import tracker
from ..aio.cancellation import current_task, is_cancellation, is_heeded
from ..aio.loops.frames import CALLING
from ..aio.loops.make import borrow, check_backend, check_guest, check_options, new_loop, start_guest
from ..aio.pending import Pending, ProtectedPending, Running, current_pending
from ..aio.queue import SingleAsyncQueue
from ..aio.tracker import PendingManager, PendingTracker
from ..aio.wakeups import Wakeups, attach, current_library
from ..context_inheritance import guard_thread_starts
from ..interrupts.call import Call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from types import CodeType

    from ..aio.group import PendingGroup
    from ..aio.loops.base import Loop, Task
    from ..aio.loops.guest import Guest
    from ..protocols import CellLike
    from .start_stop import StartStopTask

__all__ = ["Caller", "CallerCreateOptions"]

logger = logging.getLogger("callboard.caller")

#: Code whose callees are the user's: what interrupts the cells of a thread looks for it in the stack.
USER_CODE: set[CodeType] = set()
#: Code within which nothing is interrupted.
UNINTERRUPTIBLE_CODE: set[CodeType] = set()

#: How long a queue runs calls before others on the loop get their turn, seconds.
_TURN = 0.001
#: How long the end of the process waits for the threads of Callers, seconds.
_LAST_GRACE = 1.0


class CallerCreateOptions(TypedDict, total=False):
    """What a Caller is made with."""

    #: Its name, also that of its thread.
    name: str
    #: ``asyncio`` or ``trio``.
    backend: str
    #: What its event loop is made with. For asyncio: ``use_uvloop`` (without it uvloop is used where it is installed),
    #: ``loop_factory`` (a callable, or where to import one) and ``debug``; for trio: the arguments of ``trio.run``.
    backend_options: dict[str, Any] | None
    #: The debugger is to leave its thread alone.
    no_debug: bool


class PendingCall(Call):
    """A call that has begun and not ended."""

    def __init__(self, task: Task, pen: Pending[Any], ident: int) -> None:
        self.task = task
        self.pen = pen
        self._ident = ident
        self.guard = _core.AsyncExcGuard()
        #: Why it has been asked to end, if not by its Pending.
        self.why: str | None = None

    @property
    def in_user_code(self) -> bool:
        return self.guard.inside

    def cancel_pending(self, _message: str | None) -> None:
        """Cancels a coroutine that waits; what computes in another thread than the calling one gets a
        `KeyboardInterrupt` there."""
        if self._ident != threading.get_ident():
            # Also if it is just about to compute: then the loop would not come to cancel it.
            self.guard.throw(KeyboardInterrupt, UNINTERRUPTIBLE_CODE)
        self.task.cancel_soon(self.guard.forget)

    def stop(self, why: str) -> None:
        """Cancels it, unless it ends in time."""
        self.why = why
        self.cancel_pending(None)


class _Queue:
    """The calls of one function that run one after the other."""

    def __init__(self) -> None:
        self.calls: SingleAsyncQueue[tuple[Callable[..., Any], tuple, dict[str, Any]]] = SingleAsyncQueue()
        self.pen: Pending[None] = None  # type: ignore[assignment]
        self.finalizer: weakref.finalize | None = None

    def close(self) -> None:
        self.calls.stop()
        if self.finalizer is not None:
            self.finalizer.detach()


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
    #: How long an idle worker is kept, seconds; 0 keeps it for ever.
    IDLE_WORKER_SHUTDOWN_DURATION: ClassVar[float] = 60
    #: The id that the Caller of the main thread has.
    CALLER_MAIN_THREAD_ID: ClassVar[int] = threading.main_thread().ident or 0

    # A finalizer may need it in the midst of anything.
    _lock: ClassVar = threading.RLock()
    #: By the ident of the thread.
    _running: ClassVar[dict[int, Caller]] = {}
    #: By the id of the actor.
    _all: ClassVar[dict[int, Caller]] = {}
    #: Is called with each Caller that is made, before its thread starts.
    on_new: ClassVar[Callable[[Caller], None]] = staticmethod(lambda _caller: None)

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
            caller = cls._of(actor)
            caller._start_thread(backend_options, no_debug)
            return caller
        if modifier not in ("CurrentThread", "MainThread"):
            msg = f"{modifier!r} is no modifier: use CurrentThread, MainThread or NewThread"
            raise ValueError(msg)
        thread = threading.main_thread() if modifier == "MainThread" else threading.current_thread()
        is_here = thread is threading.current_thread()
        found = cls._running.get(thread.ident or 0)
        if found is not None and is_here and found._loop is not None and found._loop.is_stale():
            found.lost("its thread runs another event loop now")
            found = None
        if found is not None:
            if name and name != found.name:
                msg = f"the Caller of this thread is called {found.name!r}, not {name!r}"
                raise ValueError(msg)
            if backend and str(backend) != found.backend:
                msg = f"the Caller of this thread runs on {found.backend}, not on {backend}"
                raise ValueError(msg)
            return found  # type: ignore[return-value]
        running = current_library()
        if not is_here or running is None:
            msg = f"no event loop runs in {thread.name}: there is no Caller for it. Use Caller('NewThread')"
            raise RuntimeError(msg)
        if backend and str(backend) != running:
            msg = f"the event loop of this thread is {running}'s, not {backend}'s"
            raise ValueError(msg)
        caller = cls._of(_core.CallerHandle.free(name or thread.name, running))
        caller._join_running_loop()
        return caller

    @classmethod
    def _of(cls, actor: _core.CallerHandle) -> Self:
        """The Caller with this actor; there is one object for each. For one that has ended: another one, which is
        stopped."""
        with cls._lock:
            known = cls._all.get(actor.id)
            if known is None:
                known = object.__new__(cls)
                known._set_up(actor)
                if actor.ended:
                    known.ended()
                else:
                    cls._all[actor.id] = known
                    cls.on_new(known)
        return known  # type: ignore[return-value]

    def _set_up(self, actor: _core.CallerHandle) -> None:
        guard_thread_starts()
        self._actor = actor
        self._inbox = actor.inbox()
        self._wakeups = Wakeups(self._inbox)
        self._name = actor.name
        self._backend = actor.backend
        self._backend_options: dict[str, Any] | None = None
        self._thread: threading.Thread | None = None
        self._ident = 0
        self._loop: Loop | None = None
        self._guests: dict[str, Guest] = {}
        #: What has been given to guests and has not ended.
        self._guest_calls: dict[str, set[Pending[Any]]] = {}
        self._work: deque[Any] = deque()
        self._calls: deque[Pending | tuple[Callable, tuple, dict]] = deque()
        #: Why it has ended, if it was not asked to stop.
        self._failure: str | None = None
        self._winding_down = False
        self._over = False
        self._protected = False
        #: The tasks in an ``async with`` of it: how often, and the call that they belong to. The first is the first.
        self._contexts: dict[Any, list[Any]] = {}
        self._first_context: Any = None
        self._queues: dict[int, _Queue] = {}
        #: Calls that have been told to end, and are not to be cancelled.
        self._told_to_stop: set[Pending[Any]] = set()
        self._offspring: set[Caller] = set()
        parent = self._all.get(actor.parent) if actor.parent is not None else None
        self._parent = weakref.ref(parent) if parent is not None else lambda: None
        if parent is not None:
            parent._offspring.add(self)
        #: What runs, by task: cells and calls.
        self.running: dict[Any, Call] = {}
        #: Takes requests.
        self.handle: Callable[[_core.Request], None] = _refuse_request
        #: Answers a request that its thread cannot work on, for this reason.
        self.refuse: Callable[[_core.Request, Exception], None] = _refuse_because
        #: Is called when the actor asks the thread to stop.
        self.on_stop: Callable[[], None] = self._wind_down_soon
        #: Is set when it runs, when it is asked to stop, and when it has stopped.
        self.started: ProtectedPending[None] = ProtectedPending()
        self.stopping: ProtectedPending[None] = ProtectedPending()
        # To wait for it in the Caller's own thread would never end.
        self.stopped: ProtectedPending[None] = ProtectedPending(caller=weakref.proxy(self))
        #: How long its end waits for children and for calls that were cancelled, seconds; None: as long as it takes.
        self.grace: float | None = None
        self.log = logger

    @classmethod
    def get_existing(cls, caller_id: int | None = None, /) -> Caller | None:
        """The Caller of the thread with this ident (of the calling thread without one), if there is one."""
        return cls._running.get(threading.get_ident() if caller_id is None else caller_id)

    @classmethod
    def all_callers(cls) -> list[Caller]:
        """All Callers that have not stopped, oldest first."""
        return sorted(list(cls._all.values()), key=lambda caller: caller._actor.id)  # noqa: C414 - changed meanwhile

    @classmethod
    def id_current(cls) -> int:
        """The id that the Caller of the calling thread has, or would have."""
        return threading.get_ident()

    @classmethod
    def current_pending(cls) -> Pending[Any] | None:
        """The Pending of the call that the calling code runs in."""
        return current_pending.get()

    # -- what it is -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def id(self) -> int:
        """The ident of its thread."""
        return self._ident

    @property
    def backend(self) -> str:
        """``asyncio`` or ``trio``."""
        return self._backend

    @property
    def backend_options(self) -> dict[str, Any] | None:
        """What its event loop was made with."""
        options = dict(self._backend_options or {})
        if self._actor.use_uvloop is not None:
            options.setdefault("use_uvloop", self._actor.use_uvloop)
        return options or None

    @property
    def host(self) -> None:
        """GUI event loops are not there yet."""

    @property
    def host_options(self) -> None:
        """GUI event loops are not there yet."""

    @property
    def thread(self) -> threading.Thread | None:
        """Its thread."""
        return self._thread

    @property
    def parent(self) -> Caller | None:
        """The Caller that stops it."""
        return self._parent()

    @property
    def children(self) -> set[Caller]:
        """The Callers that stop when this one stops, without those that are stopping."""
        return {child for child in self._offspring.copy() if not child.stopping.done()}

    @property
    def protected(self) -> bool:
        """Whether only ``stop(force=True)`` stops it. Can be set, but not taken back."""
        return self._protected

    @protected.setter
    def protected(self, value: bool) -> None:
        if not value:
            msg = "the protection of a Caller cannot be taken back: stop it with stop(force=True)"
            raise ValueError(msg)
        self._protected = True

    def __repr__(self) -> str:
        state = "starting" if not self.started.done() else "running"
        if self.stopping.done():
            state = "stopped" if self.stopped.done() else "stopping"
        here = "here" if self._ident == threading.get_ident() else "elsewhere"
        count = len(self.children)
        children = f" {count} children" if count > 1 else " 1 child" if count else ""
        protected = " protected" if self._protected else ""
        return f"<Caller {self._name!r} {state} {here}{protected} backend={self._backend} id={self._ident}{children}>"

    # -- its thread -------------------------------------------------------------------------------------

    def _start_thread(self, options: dict[str, Any] | None = None, no_debug: bool = False) -> None:
        self._backend_options = options
        thread = self._thread = threading.Thread(target=self._run_in_thread, name=self._name, daemon=True)
        if no_debug:
            thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]
        try:
            # What it prints belongs to the calls that it runs, not to the code that has made it.
            _start_without_parent(thread)
        except RuntimeError as error:
            msg = f"the thread of the Caller {self._name!r} cannot be started: {error}. Stop some Callers"
            failure = RuntimeError(msg)
            self._refuse_requests(failure)
            self.lost(f"its thread cannot be started: {error}")
            raise failure from error
        self._ident = thread.ident or 0

    def _run_in_thread(self) -> None:
        _core.block_sigint()
        self.run()

    def run(self) -> None:
        """Serves the inbox in the calling thread until the Caller is stopped."""
        self._thread, self._ident = threading.current_thread(), threading.get_ident()
        try:
            options = self.backend_options or {}
            self._loop = loop = new_loop(self._backend, options)
            self._running[self._ident] = self
            # What came before the loop ran.
            self._inbox.notify()
            loop.run(self)
        except BaseException as error:
            if self._thread is threading.main_thread():
                raise
            if not self.started.done() and isinstance(error, Exception):
                self._failure = f"its event loop cannot be made: {error}"
                logger.debug("the Caller %r cannot run", self._name, exc_info=True)
                self._refuse_requests(error)
            elif not self._winding_down:
                self.failed(error)
                logger.exception("the thread of the Caller %r has ended", self._name)
            elif not is_cancellation(error):
                logger.exception("the end of the Caller %r has failed", self._name)
        finally:
            self.ended()

    def _join_running_loop(self) -> None:
        """Serves the inbox in the loop that runs in the calling thread, as long as that runs."""
        self._thread, self._ident = threading.current_thread(), threading.get_ident()
        self._running[self._ident] = self
        self._loop = borrow(self, self._backend)
        _of_thread.guard = _Guard(self)
        self.started.set_result(None)

    def ended(self) -> None:
        """Its loop serves it no more: nothing that it has been given stays open."""
        with self._lock:
            if self._over:
                return
            self._over = True
        if (parent := self._parent()) is not None:
            parent._actor.forget(self._actor.id)
        self._actor.end()
        self.stopping.set_result(None)
        self.started.cancel("it has ended before it began")
        for child in self._offspring.copy():
            child.stop(force=True)
        self._refuse_calls()
        for call in list(self.running.values()):
            if isinstance(call, PendingCall):
                self._fail(call.pen)
        for pens in list(self._guest_calls.values()):
            for pen in list(pens):
                self._fail(pen)
        for queue in list(self._queues.values()):
            queue.close()
        self._queues.clear()
        self._all.pop(self._actor.id, None)
        if self._running.get(self._ident) is self:
            del self._running[self._ident]
        if parent is not None:
            parent._offspring.discard(self)
        self._wakeups.close()
        self.stopped.set_result(None)
        # Without cycles it ends with the last reference.
        self._loop, self.on_stop, self.handle = None, _do_nothing, _refuse_request

    def lost(self, how: str) -> None:
        """Its loop has gone without a word."""
        if self._over:
            return
        if not self.stopping.done():
            self._failure = how
            logger.warning("the Caller %r has ended: %s", self._name, how)
        loop = self._loop
        if loop is not None:
            loop.forget()
        self.ended()

    def begin(self) -> None:
        """Its loop runs; also when that has started anew. In its thread."""
        attach(self._wakeups)
        self.started.set_result(None)

    def failed(self, error: BaseException) -> None:
        """Its loop ends with this error, and all that runs on it."""
        if self._winding_down or self._failure is not None:
            return
        self._failure = f"its thread has ended with {error!r}"
        for call in list(self.running.values()):
            if isinstance(call, PendingCall):
                call.why = self._why()

    def fileno(self) -> int:
        """The descriptor that is readable when there is something to do."""
        return self._inbox.fileno()

    def is_waited_for(self) -> bool:
        """Whether a task of the loop waits for something that `drain` brings."""
        return self._wakeups.is_needed()

    def drain(self) -> None:
        """Does what has come in. In its thread, when the descriptor is readable."""
        work, calls = self._work, self._calls
        work.extend(self._inbox.drain())
        try:
            while work:
                self._do(work.popleft())
            # What these calls add waits for the next round: others on the loop get their turn.
            for _ in range(len(calls)):
                try:
                    call = calls.popleft()
                except IndexError:  # refused by another thread
                    break
                if isinstance(call, Pending):
                    self._start_call(call)
                else:
                    self._call_now(*call)
        finally:
            if work or calls:
                self._inbox.notify()

    def _do(self, work: Any) -> None:
        if isinstance(work, int):
            self._wakeups.fire(work)
            return
        try:
            if isinstance(work, _core.Request):
                self.handle(work)
            elif isinstance(work, _core.CallerHandle):
                _start_for_request(work)
            elif isinstance(work, _core.Cancel):
                if (caller := self._all.get(work.id)) is not None:
                    caller.interrupt(caller.running_cells())
            else:
                self.stopping.set_result(None)
                self._stop_calls()
                self.on_stop()
        except Exception:
            logger.exception("%r could not be dealt with", work)

    def _call_now(self, func: Callable, args: tuple, kwargs: dict) -> None:
        try:
            result = func(*args, **kwargs)
            if inspect.iscoroutine(result):
                result.close()
                logger.error("call_direct calls functions, and %r is a coroutine function: use call_soon", func)
        except BaseException:
            # Also SystemExit: what cannot be told to anybody ends nothing.
            logger.exception("a direct call of %r failed", func)

    # -- the end ----------------------------------------------------------------------------------------

    def stop(self, *, force: bool = False) -> ProtectedPending[None] | None:
        """Stops it and its children: no call is begun any more; those that run are cancelled, but a `StartStopTask` is
        told to stop. Returns `stopped`; None, with a warning, if it is protected and not forced: then it goes on."""
        if self._protected and not force:
            msg = f"the Caller {self._name!r} is protected and goes on: stop it with stop(force=True)"
            warnings.warn(msg, RuntimeWarning, stacklevel=2)
            return None
        if not self.stopping.done():
            # In this order: who sees that it is stopping does not find it any more.
            if (parent := self._parent()) is not None:
                parent._actor.forget(self._actor.id)
            self._actor.stop()
            self.stopping.set_result(None)
            for child in self._offspring.copy():
                child.stop(force=True)
            self._stop_calls()
        return self.stopped

    def _stop_calls(self) -> list[Pending[Any]]:
        """Cancels the calls that run; returns all calls that have not ended."""
        self._refuse_calls()
        found = [call for call in list(self.running.values()) if isinstance(call, PendingCall)]
        for call in found:
            if call.pen not in self._told_to_stop:
                call.stop(self._why())
        return [call.pen for call in found]

    def _why(self) -> str:
        return f"the Caller {self._name!r} has stopped" + (f": {self._failure}" if self._failure else "")

    def _fail(self, pen: Pending[Any]) -> None:
        """Nobody is going to complete it any more."""
        if self._failure is not None:
            pen.set_exception(RuntimeError(self._why()))
        elif not pen.cancelled():
            pen.cancel(self._why())
        # That may have asked what carries out cancellations, and carries out none any more.
        pen.set_result(None)

    def _refuse_requests(self, error: Exception) -> None:
        """Answers the requests that have come in, and are not going to be worked on."""
        for work in self._inbox.drain():
            if isinstance(work, _core.Request):
                self.refuse(work, error)

    def _refuse_calls(self) -> None:
        while True:
            try:
                call = self._calls.popleft()
            except IndexError:
                return
            if isinstance(call, Pending):
                self._fail(call)
            else:
                logger.debug("%s: a direct call of %r is dropped", self._why(), call[0])

    def _wind_down_soon(self) -> None:
        if self._loop is not None and not self._winding_down:
            self._loop.spawn(self._wind_down)

    async def _wind_down(self, _task: Task) -> None:
        if self._winding_down:
            return
        self._winding_down = True
        try:
            for call in list(self.running.values()):
                # The end of the loop cancels it.
                call.mark_interrupted()
            await self._end_all()
        finally:
            if self._loop is not None:
                self._loop.stop(self.grace)

    async def loop_ends(self) -> None:
        """The loop, which is somebody else's, is about to end: stops all that is the Caller's."""
        self._winding_down = True
        self.stopping.set_result(None)
        for child in self._offspring.copy():
            child.stop(force=True)
        self._stop_calls()
        await self._end_all()

    async def _end_all(self) -> None:
        end = None if self.grace is None else time.monotonic() + self.grace

        async def wait(pens: Iterable[Pending[Any]]) -> None:
            for pen in pens:
                left = None if end is None else end - time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await pen.wait(timeout=left, result=False, protect=True)

        await wait(list(self._told_to_stop))
        await wait([child.stopped for child in self._offspring.copy()])
        await wait(self._stop_calls())
        for pens in list(self._guest_calls.values()):
            # Those that have not begun.
            for pen in list(pens):
                pen.cancel(self._why())
            await wait(list(pens))
        ends = [guest.ended for guest in self._guests.values()]
        for guest in list(self._guests.values()):
            guest.stop()
        await wait(ends)

    async def __aenter__(self) -> Self:
        self._protected = True
        await self.started.wait(result=False)
        me = current_task()
        with self._lock:
            if not self.stopping.done():
                if not self._contexts:
                    self._first_context = me
                self._contexts.setdefault(me, [0, current_pending.get()])[0] += 1
                return self
        if self._ident != threading.get_ident():
            await self.stopped.wait(result=False)
        msg = f"the Caller {self._name!r} has been stopped: make another one"
        raise RuntimeError(msg)

    async def __aexit__(self, *_exc_info: object) -> None:
        me = current_task()
        with self._lock:
            if me not in self._contexts:
                # It was entered in another task.
                me = next(iter(self._contexts))
            self._contexts[me][0] -= 1
            if self._contexts[me][0]:
                return
            del self._contexts[me]
            others = [pen for _, pen in self._contexts.values() if pen is not None]
            is_last = not self._contexts
        pen = current_pending.get()
        # The end waits for calls: a call cannot wait for the end.
        is_call = self._ident == threading.get_ident() and pen is not None
        is_first = me is self._first_context
        if is_first and pen is not None and is_call:
            self._told_to_stop.add(pen)
            try:
                for other in others:
                    other.cancel(f"the first context of the Caller {self._name!r} has ended")
                for other in others:
                    await other.wait(result=False, shield=True)
                self.stop(force=True)
            finally:
                self._told_to_stop.discard(pen)
                if (call := self.running.get(me)) is not None:
                    # Takes effect if it goes on.
                    call.task.cancel_soon()
        elif is_last:
            self.stop(force=True)
        if is_first and not is_call and (self._ident != threading.get_ident() or self._is_borrowed):
            await self.stopped.wait(result=False, shield=True)

    @property
    def _is_borrowed(self) -> bool:
        return self._loop is None or self._loop.is_borrowed

    def keep_running(self) -> None:
        """From now on no context stops it: it is somebody's who stops it himself."""
        self._protected = True
        with self._lock:
            self._contexts[self] = [1, None]
            self._first_context = self

    def running_cells(self) -> list[CellLike]:
        """The cells that run in its thread now. From any thread, and by a signal handler."""
        return [call for call in list(self.running.values()) if call.is_cell]  # type: ignore[misc]

    def interrupt(self, cells: list[CellLike]) -> None:
        """Interrupts those of these cells that still run in its thread: what computes gets a `KeyboardInterrupt`, what
        awaits is cancelled. From any thread but its own."""
        running = [cell for cell in self.running_cells() if cell in cells]
        if not running:
            return
        for cell in running:
            cell.mark_interrupted()
        hit = _core.raise_in_thread(self._ident, KeyboardInterrupt, USER_CODE, UNINTERRUPTIBLE_CODE)
        for cell in running:
            if len(running) > 1 or not hit:
                cell.cancel()

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
        _refuse_host(host)
        backend = None if backend is None else str(backend)
        if backend is not None:
            check_backend(backend)
        check_options(backend or self._backend, backend_options)
        if backend_options is None and backend in (None, self._backend):
            backend_options = self._backend_options
        return self._child(name, backend, backend_options, no_debug)

    def _child(
        self,
        name: str = "",
        backend: str | None = None,
        options: dict[str, Any] | None = None,
        no_debug: bool = False,
        is_worker: bool = False,
    ) -> Caller:
        use_uvloop = (options or {}).get("use_uvloop")
        while True:
            if self.stopping.done():
                msg = f"the Caller {self._name!r} is stopping: it takes no more children"
                raise RuntimeError(msg)
            actor, made = self._actor.child(name or None, backend, use_uvloop, is_worker)
            child = self._of(actor)
            if made:
                child._start_thread(options, no_debug)
            if made or not child.stopping.done():
                return child
            # Found just before it was forgotten.
            self._actor.forget(actor.id)

    def schedule_call(
        self,
        func: Callable[..., Any],
        args: tuple,
        kwargs: dict[str, Any],
        context: contextvars.Context | None = None,
        trackers: type[PendingTracker] | tuple[type[PendingTracker], ...] = PendingTracker,
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
            if backend != self._backend:
                check_guest(self._backend, backend)
                metadata["backend"] = backend
        if context is None and not trackers:
            context = contextvars.copy_context()
        pen = Pending(context, trackers, func=func, args=args, kwargs=kwargs, caller=self, **metadata)
        self._give(pen)
        return pen

    def _give(self, call: Pending[Any] | tuple[Callable, tuple, dict]) -> None:
        try:
            self._calls.append(call)
        finally:
            # Whatever interrupts this.
            self._inbox.notify()
        if self.stopping.done():
            # Nobody looks at it any more.
            self._refuse_calls()

    def call_soon(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Pending[Any]:
        """Runs the function as a task in this Caller's thread."""
        return self.schedule_call(func, args, kwargs)

    def call_later(self, delay: float, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Pending[Any]:
        """Runs the function as a task in this Caller's thread, `delay` seconds from now at the earliest."""
        due = time.monotonic() + delay

        async def call() -> Any:
            # Some loops round down to milliseconds.
            while (left := due - time.monotonic()) > 0:
                await sleep(left)
            result = func(*args, **kwargs)
            return await result if _is_coroutine(result) else result

        return self.schedule_call(call, (), {})

    def call_direct(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Calls the function in this Caller's thread, in its event loop itself: no task, no context of its own. For
        functions that are quick and raise nothing; what they raise is logged. A Caller that has stopped drops it."""
        self._give((func, args, kwargs))

    def call_using_backend(self, backend: str, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Pending[Any]:
        """Runs the function as a task of this backend (``asyncio`` or ``trio``) in this Caller's thread: in its own
        event loop, or in the other one as its guest."""
        return self.schedule_call(func, args, kwargs, None, PendingTracker, backend)

    def to_thread(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Pending[Any]:
        """Runs the function in the thread of a worker: a child that has nothing else to do. Idle workers are kept, up
        to `MAX_IDLE_POOL_INSTANCES`, for `IDLE_WORKER_SHUTDOWN_DURATION` seconds.

        Raises `RuntimeError` if this Caller is stopping."""
        return self._call_in_worker(None, func, args, kwargs)

    def _call_in_worker(
        self, backend: str | None, func: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Pending[Any]:
        worker = self._worker(backend)
        pen = worker.schedule_call(func, args, kwargs)
        pen.add_done_callback(worker.be_idle)
        return pen

    def _worker(self, backend: str | None) -> Caller:
        while (actor := self._actor.take_worker(backend)) is not None:
            worker = self._of(actor)
            if not worker.stopping.done():
                return worker
        options = self._backend_options if backend in (None, self._backend) else None
        return self._child("", backend, options, is_worker=True)

    def be_idle(self, _pen: Pending[Any] | None = None, /) -> None:
        """A worker goes back to its parent's pool, or stops if there are enough of them."""
        parent = self._parent()
        if not self._actor.is_worker or parent is None or self.stopping.done():
            return
        linger = self.IDLE_WORKER_SHUTDOWN_DURATION or None
        if not parent._actor.keep_worker(self._actor, self.MAX_IDLE_POOL_INSTANCES, linger):
            self.stop(force=True)

    def _start_call(self, pen: Pending) -> None:
        if self.stopping.done():
            self._fail(pen)
        if pen.done():
            return
        assert self._loop is not None
        try:
            backend = pen.metadata.get("backend")
            if backend is None:
                self._loop.spawn_plain(self._run_call, pen, pen.context)
            else:
                self._start_in_guest(backend, pen)
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            pen.set_exception(error)

    def _start_in_guest(self, backend: str, pen: Pending) -> None:
        guest = self._guests.get(backend)
        if guest is None:
            guest = self._start_guest(backend)
        pens = self._guest_calls[backend]
        pens.add(pen)
        pen.add_done_callback(pens.discard)
        guest.call(lambda tasks: tasks.spawn_plain(self._run_call, pen, pen.context))

    def _start_guest(self, backend: str) -> Guest:
        def on_end(error: BaseException | None) -> None:
            if error is not None:
                logger.error("%s, the guest of the Caller %r, has ended", backend, self._name, exc_info=error)
            self._guests.pop(backend, None)
            for pen in list(self._guest_calls.pop(backend, ())):
                if error is not None:
                    pen.set_exception(RuntimeError(f"{backend}, the guest of {self._name!r}, has ended: {error!r}"))
                self._fail(pen)

        host: Any = self._loop
        self._guest_calls[backend] = set()
        guest = self._guests[backend] = start_guest(host, backend, on_end)
        return guest

    async def _run_call(self, task: Task, pen: Pending) -> None:
        if pen.done():
            return
        raw = task.raw
        if raw is None:
            # An eager loop is about to say so.
            raw = task.raw = current_task()
        call = PendingCall(task, pen, self._ident)
        self.running[raw] = call
        runner = Running(pen)
        runner.__enter__()
        try:
            pen.set_canceller(call.cancel_pending)
            # It is in `running` now: who stops this Caller either finds it there, or is seen here.
            if self.stopping.done():
                pen.cancel(self._why())
            if not pen.cancelled():
                metadata, guard = pen.metadata, call.guard
                result = guard.call(metadata["func"], metadata["args"], metadata["kwargs"])
                if _is_coroutine(result):
                    result = await task.wait_for(guard.wrap(result))
                if task.was_cancelled() and not pen.cancelled():
                    pen.cancel(call.why or "its task was cancelled")
                pen.set_result(result)
        except BaseException as error:
            is_end = is_cancellation(error) or (call.why and isinstance(error, KeyboardInterrupt))
            if is_end and not pen.cancelled():
                pen.cancel(call.why or "its task was cancelled")
            if not pen.cancelled():
                pen.set_exception(_without_own_frames(error))
            if is_heeded(error):
                raise
        finally:
            if pen.cancelled():
                pen.set_result(None)
            with contextlib.suppress(ValueError):  # garbage of a loop that is dead, in another context
                runner.__exit__()
            self.running.pop(raw, None)
            # The frames of the user's code, which an exception refers to, refer to this one.
            del pen, call, runner
            task = raw = metadata = guard = result = None  # type: ignore[assignment]

    # -- queues -----------------------------------------------------------------------------------------

    def queue_call(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Puts a call at the end of the queue that this Caller has for this function, and runs the calls of that queue
        one after the other. The queue runs in the context of the first call, until `queue_close` is called or the
        function is deleted. What a call raises is logged. A Caller that has stopped drops it."""
        key = hash(func)
        while not self.stopping.done():
            with self._lock:
                queue = self._queues.get(key)
                if queue is None or queue.pen.done():
                    queue = self._new_queue(key, func)
            if queue.calls.append((func, args, kwargs)):
                return
            # It was closed in between.
            if self._queues.get(key) is queue:
                del self._queues[key]
        logger.debug("%s: a queued call of %r is dropped", self._why(), func)

    def _new_queue(self, key: int, func: Callable[..., Any]) -> _Queue:
        queue = self._queues[key] = _Queue()
        with contextlib.suppress(TypeError):  # not everything can be weakly referred to
            target = func.__self__ if inspect.ismethod(func) else func
            queue.finalizer = weakref.finalize(target, _close_queue, weakref.ref(self), key, weakref.ref(queue))
            queue.finalizer.atexit = False
        queue.pen = self.schedule_call(self._run_queue, (key, queue), {}, None, PendingManager)
        queue.pen.add_done_callback(lambda _pen: queue.close())
        return queue

    async def _run_queue(self, key: int, queue: _Queue) -> None:
        me = current_pending.get()
        turn = time.monotonic()
        try:
            async for func, args, kwargs in queue.calls:
                try:
                    result = func(*args, **kwargs)
                    if _is_coroutine(result):
                        await result
                except BaseException as error:
                    is_end = isinstance(error, GeneratorExit) or (me is not None and me.cancelled())
                    if is_end or is_heeded(error):
                        raise
                    logger.exception("a queued call of %r failed", func)
                # While it waits for the next call it must not keep the function alive.
                func = args = kwargs = result = None  # type: ignore[assignment]
                if time.monotonic() - turn > _TURN:
                    await sleep(0)
                    turn = time.monotonic()
        finally:
            if self._queues.get(key) is queue:
                del self._queues[key]

    def queue_get(self, func: Callable[..., Any]) -> Pending[None] | None:
        """The Pending of the task that runs the queue of this function; None if there is no such queue."""
        queue = self._queues.get(hash(func))
        return queue.pen if queue is not None else None

    def queue_close(self, func: Callable[..., Any] | int) -> None:
        """Ends the queue of this function (or of the function with this hash); calls that wait are dropped."""
        queue = self._queues.pop(func if isinstance(func, int) else hash(func), None)
        if queue is not None:
            queue.close()

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


class _Guard:
    """Ends with the thread, and with it the Caller that has borrowed that thread's loop."""

    def __init__(self, caller: Caller) -> None:
        self._caller = weakref.ref(caller)

    def __del__(self) -> None:
        caller = self._caller()
        if caller is not None and not sys.is_finalizing():
            caller.lost("its thread has ended")


_of_thread = threading.local()


async def sleep(seconds: float) -> None:
    """Waits, on whatever event loop runs."""
    if current_library() == "trio":
        import trio

        await trio.sleep(seconds)
    else:
        import asyncio

        await asyncio.sleep(seconds)


def _is_coroutine(result: Any) -> bool:
    # Not whatever can be awaited: a function may return a Pending.
    return isinstance(result, Coroutine) or (isinstance(result, GeneratorType) and inspect.isawaitable(result))


def _without_own_frames(error: BaseException) -> BaseException:
    """Lets a traceback begin in the user's code."""
    at = error.__traceback__
    while at is not None and at.tb_frame.f_code in CALLING:
        at = at.tb_next
    return error.with_traceback(at)


CALLING.add(Caller._run_call.__code__)


def _close_queue(caller: weakref.ref[Caller], key: int, queue: weakref.ref[_Queue]) -> None:
    """The function has been deleted."""
    found, known = queue(), caller()
    if found is not None:
        if known is not None and known._queues.get(key) is found:
            del known._queues[key]
        found.calls.stop()


def _caller_of_thread(ident: int) -> Caller | None:
    return Caller() if ident == threading.get_ident() else Caller.get_existing(ident)


tracker.caller_of_thread = _caller_of_thread


def _do_nothing() -> None:
    pass


def _refuse_host(host: str | None) -> None:
    if host:
        msg = f"callboard has no GUI event loop ({host!r}) yet: leave out host"
        raise RuntimeError(msg)


def _refuse_request(request: _core.Request) -> None:
    request.begin()
    request.reply_error("CallerError", "this Caller takes no requests")
    request.finish(False)


def _refuse_because(request: _core.Request, error: Exception) -> None:
    if request.begin():
        request.reply_error(type(error).__name__, str(error))
        request.finish(False)


def _start_for_request(actor: _core.CallerHandle) -> None:
    """Starts the thread of a Caller that an actor has made."""
    caller = Caller._of(actor)
    parent = caller.parent
    options = parent._backend_options if parent is not None and parent.backend == caller.backend else None
    if actor.use_uvloop is not None:
        options = {**(options or {}), "use_uvloop": actor.use_uvloop}
    with contextlib.suppress(RuntimeError):  # what waits for it has been told
        caller._start_thread(options)


def _start_without_parent(thread: threading.Thread) -> None:
    from ..context import current_parent

    token = current_parent.set(None)
    try:
        thread.start()
    finally:
        current_parent.reset(token)


@atexit.register
def _stop_all() -> None:
    """At the end of the process: lets what runs in Callers clean up, for a moment."""
    here = threading.current_thread()
    callers = [c for c in Caller.all_callers() if c.thread is not here and not c.stopping.done()]
    for caller in callers:
        caller.stop(force=True)
    end = time.monotonic() + _LAST_GRACE
    for caller in callers:
        if caller.thread is not None:
            caller.thread.join(max(0, end - time.monotonic()))
