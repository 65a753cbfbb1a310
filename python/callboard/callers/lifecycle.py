"""The thread of a Caller and its event loop: how they start, what they serve, and how they end."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from .. import _core
from ..aio.cancellation import is_cancellation
from ..aio.loops.make import borrow, new_loop
from ..aio.pending import Pending
from ..aio.wakeups import Wakeups, attach
from ..context import current_parent, report_stray
from ..context_inheritance import guard_thread_starts
from ..util.errors import text_of
from .calls import RunningCalls
from .registry import registry
from .state import State, Status
from .submit import SubmittedCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..aio.loops.base import Loop, Task

logger = logging.getLogger("callboard.caller")


class LoopThread:
    """The thread of a Caller, the event loop in it, and the inbox that the loop serves. The `Served` of that loop.

    Other Callers, the kernel and its cells use this; `Caller` is what users have.
    """

    def __init__(self, actor: _core.CallerHandle, caller: Any) -> None:
        guard_thread_starts()
        #: The actor that stands for this thread.
        self.actor = actor
        #: The Caller whose thread this is.
        self.caller: weakref.ref[Any] = weakref.ref(caller)
        self.status = Status(actor.name, caller)
        self.inbox = actor.inbox()
        self.wakeups = Wakeups(self.inbox)
        self.calls = RunningCalls(self.status)
        self.submitted = SubmittedCalls(self.status, self.inbox, self.calls)
        #: The options that the loop was made with.
        self.options: dict[str, Any] | None = None
        self.thread: threading.Thread | None = None
        #: The loop, from its start to its end.
        self.loop: Loop | None = None
        #: Taken from the inbox, and not dealt with yet.
        self._taken: deque[Any] = deque()
        parent = registry.by_actor.get(actor.parent) if actor.parent is not None else None
        #: The thread whose end is also the end of this one.
        self.parent: Callable[[], LoopThread | None] = _none
        self.children: set[LoopThread] = set()
        if parent is not None:
            above: LoopThread = parent.loop_thread
            self.parent = weakref.ref(above)
            above.children.add(self)
        #: Takes the requests that come in.
        self.handle_request: Callable[[Any], None] = _take_no_requests
        #: Answers a request that this thread cannot work on, for this reason.
        self.refuse_request: Callable[[_core.Request, Exception], None] = _refuse_because
        #: Called when the actor asks the thread to stop.
        self.on_stop: Callable[[], None] = self.wind_down_soon
        #: How long its end waits for children and for calls that were cancelled, seconds; None: as long as it takes.
        self.grace: float | None = None
        #: Only a forced `stop` stops it, and no exception.
        self.is_protected = False
        #: The tasks in an ``async with`` of the Caller: how often, and the call that they belong to. See `contexts`.
        self.open_contexts: dict[Any, tuple[int, Pending[Any] | None]] = {}
        self.first_context: Any = None
        if actor.ended:
            self.ended()

    @property
    def is_borrowed(self) -> bool:
        """Whether the loop ran before the Caller used it; also when it has ended."""
        return (loop := self.loop) is None or loop.is_borrowed

    @property
    def is_stale(self) -> bool:
        """Whether the loop serves no more, because the thread runs another one now."""
        return (loop := self.loop) is not None and loop.is_stale()

    # -- the start --------------------------------------------------------------------------------------

    def start(self, options: dict[str, Any] | None = None, no_debug: bool = False) -> None:
        """Starts the thread, with an event loop that is made with these options.

        Raises `RuntimeError` if the system starts no more threads: then what has come in has been answered."""
        self.options = options
        thread = self.thread = threading.Thread(target=self._run_in_thread, name=self.actor.name, daemon=True)
        if no_debug:
            thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]
        # What it prints belongs to the calls that it runs, not to the code that has made it.
        token = current_parent.set(None)
        try:
            thread.start()
        except RuntimeError as error:
            name = self.actor.name
            msg = f"the thread of the Caller {name!r} cannot be started: {error}. Stop some Callers"
            failure = RuntimeError(msg)
            self._refuse_requests(failure)
            self.lost(f"its thread cannot be started: {error}")
            raise failure from error
        finally:
            current_parent.reset(token)
        self.calls.ident = thread.ident or 0

    def start_for_request(self) -> None:
        """Starts the thread of a Caller that an actor has made, with the options of the parent's loop if it is of the
        same library. What waits for it is told if that fails."""
        parent = self.parent()
        options = parent.options if parent is not None and parent.actor.backend == self.actor.backend else None
        if self.actor.use_uvloop is not None:
            options = {**(options or {}), "use_uvloop": self.actor.use_uvloop}
        with contextlib.suppress(RuntimeError):
            self.start(options)

    def _run_in_thread(self) -> None:
        _core.block_sigint()
        self.run()

    def all_options(self) -> dict[str, Any]:
        """The options of the loop, also those that the actor has."""
        options = dict(self.options or {})
        if self.actor.use_uvloop is not None:
            options.setdefault("use_uvloop", self.actor.use_uvloop)
        return options

    def run(self) -> None:
        """Serves the inbox in the calling thread until the Caller is stopped."""
        self._is_here()
        try:
            loop = new_loop(self.actor.backend, self.all_options())
            self._serve_with(loop)
            # What came before the loop ran.
            self.inbox.notify()
            loop.run(self)
        except BaseException as error:
            if self.thread is threading.main_thread():
                raise
            status = self.status
            if not status.started.done() and isinstance(error, Exception):
                status.failure = f"its event loop cannot be made: {error}"
                logger.debug("the Caller %r cannot run", status.name, exc_info=True)
                self._refuse_requests(error)
            elif not status.is_ending:
                self.failed(error)
                logger.exception("the thread of the Caller %r has ended", status.name)
            elif not is_cancellation(error):
                logger.exception("the end of the Caller %r has failed", status.name)
        finally:
            self.ended()

    def join_running_loop(self) -> None:
        """Serves the inbox in the loop that runs in the calling thread, as long as that runs."""
        self._is_here()
        self._serve_with(borrow(self, self.actor.backend))
        _of_thread.guard = _Guard(self)
        self.status.begin()

    def _is_here(self) -> None:
        self.thread, self.calls.ident = threading.current_thread(), _core.enter_thread()

    def _serve_with(self, loop: Loop) -> None:
        self.loop = self.submitted.loop = loop
        registry.enter(self.actor.id, self.calls.ident)

    # -- serving ----------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor that is readable when there is something to do."""
        return self.inbox.fileno()

    def begin(self) -> None:
        """Its loop runs; also when that has started anew. In its thread."""
        attach(self.wakeups)
        self.status.begin()

    def is_waited_for(self) -> bool:
        """Whether a task of the loop waits for something that `drain` brings."""
        return self.wakeups.is_needed()

    def drain(self) -> None:
        """Does what has come in. In its thread, when the descriptor is readable."""
        taken, submitted = self._taken, self.submitted
        waiting = submitted.waiting
        taken.extend(self.inbox.drain())
        try:
            while taken:
                task = taken.popleft()
                try:
                    self._do(task)
                except BaseException as error:  # noqa: BLE001 - whatever it is, the rest is dealt with
                    if isinstance(task, _core.Request):
                        task.give_up(type(error).__name__, text_of(error))
                    report_stray(error)
            # What these calls add waits for the next round: others on the loop get their turn.
            for _ in range(len(waiting)):
                try:
                    call = waiting.popleft()
                except IndexError:  # refused by another thread
                    break
                if isinstance(call, Pending):
                    submitted.start(call)
                else:
                    submitted.call_now(*call)
        finally:
            if taken or waiting:
                self.inbox.notify()

    def _do(self, task: Any) -> None:
        if isinstance(task, int):
            self.wakeups.fire(task)
        elif isinstance(task, (_core.Request, _core.DebugWork)):
            self.handle_request(task)
        elif isinstance(task, _core.CallerHandle):
            registry.of(task).loop_thread.start_for_request()
        elif isinstance(task, _core.Cancel):
            if (caller := registry.by_actor.get(task.id)) is not None:
                calls: RunningCalls = caller.loop_thread.calls
                calls.interrupt(calls.cells())
        else:
            self.status.stop()
            self._stop_calls()
            self.on_stop()

    def _refuse_requests(self, error: Exception) -> None:
        """Answers the requests that have come in, and are not going to be worked on."""
        for task in self.inbox.drain():
            if isinstance(task, _core.Request):
                self.refuse_request(task, error)

    def be_idle(self, _pen: Pending[Any] | None = None, /) -> None:
        """A worker goes back to its parent's pool, or stops if there are enough of them."""
        parent, caller = self.parent(), self.caller()
        if not self.actor.is_worker or parent is None or caller is None or self.status.stopping.done():
            return
        linger = caller.IDLE_WORKER_SHUTDOWN_DURATION or None
        if not parent.actor.keep_worker(self.actor, caller.MAX_IDLE_POOL_INSTANCES, linger):
            self.stop()

    # -- the end ----------------------------------------------------------------------------------------

    def keep_running(self) -> None:
        """From now on no context stops it. For the threads of a kernel, which stops them itself."""
        self.is_protected = True
        with registry.lock:
            self.open_contexts[self] = 1, None
            self.first_context = self

    def stop(self) -> None:
        """Asks it and its children to stop, and cancels the calls that run. From any thread."""
        if self.status.stopping.done():
            return
        # In this order: what sees that it is stopping does not find it any more.
        self._leave_parent()
        self.actor.stop()
        self.status.stop()
        self._stop_children()
        self._stop_calls()

    def _leave_parent(self) -> None:
        if (parent := self.parent()) is not None:
            parent.actor.forget(self.actor.id)

    def _stop_children(self) -> None:
        for child in self.children.copy():
            child.stop()

    def _stop_calls(self) -> list[Pending[Any]]:
        """Cancels the calls that run; returns all calls that have not ended."""
        self.submitted.refuse()
        return self.calls.stop()

    def wind_down_soon(self) -> None:
        """Ends the loop once what runs there has ended. In its thread, when it is stopping."""
        if self.loop is not None and not self.status.is_ending:
            self.loop.spawn(self._wind_down)

    async def _wind_down(self, _task: Task) -> None:
        if not self.status.wind_down():
            return
        try:
            for call in list(self.calls.by_task.values()):
                # The end of the loop cancels it.
                call.mark_interrupted()
            await self._end_all()
        finally:
            if self.loop is not None:
                self.loop.stop(self.grace)

    async def loop_ends(self) -> None:
        """The loop, which it has borrowed, is about to end: stops all that is the Caller's."""
        self.status.stop()
        self.status.wind_down()
        self._stop_children()
        self._stop_calls()
        await self._end_all()

    async def _end_all(self) -> None:
        end = None if self.grace is None else time.monotonic() + self.grace

        async def wait(pens: Iterable[Pending[Any]]) -> None:
            for pen in pens:
                left = None if end is None else end - time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await pen.wait(timeout=left, result=False, protect=True)

        await wait(list(self.calls.told_to_stop))
        await wait([child.status.stopped for child in self.children.copy()])
        await wait(self._stop_calls())
        await wait(self.submitted.cancel_in_guests())
        await wait(self.submitted.stop_guests())

    def failed(self, error: BaseException) -> None:
        """Its loop ends with this error, and all that runs on it."""
        status = self.status
        if status.is_ending or status.failure is not None:
            return
        status.failure = f"its thread has ended with {error!r}"
        for call in self.calls.calls():
            call.why = status.why()

    def lost(self, how: str) -> None:
        """Its loop or its thread has gone without a word."""
        status = self.status
        if status.state is State.STOPPED:
            return
        if not status.stopping.done():
            status.failure = how
            logger.warning("the Caller %r has ended: %s", status.name, how)
        if (loop := self.loop) is not None:
            loop.forget()
        self.ended()

    def ended(self) -> None:
        """Its loop serves it no more: ends all that it has been given."""
        status = self.status
        if not status.end():
            return
        self._leave_parent()
        self.actor.end()
        self._stop_children()
        self.submitted.refuse()
        for call in self.calls.calls():
            status.fail(call.pen)
        self.submitted.fail_in_guests()
        registry.leave(self.actor.id, self.calls.ident)
        if (parent := self.parent()) is not None:
            parent.children.discard(self)
        self.wakeups.close()
        status.stopped.set_result(None)
        # Without cycles it ends with the last reference.
        self.loop = self.submitted.loop = None
        self.on_stop, self.handle_request = _do_nothing, _take_no_requests


class _Guard:
    """Ends with the thread, and with it the Caller that has borrowed that thread's loop."""

    def __init__(self, loop_thread: LoopThread) -> None:
        self._loop_thread = weakref.ref(loop_thread)

    def __del__(self) -> None:
        loop_thread = self._loop_thread()
        if loop_thread is not None and not sys.is_finalizing():
            loop_thread.lost("its thread has ended")


_of_thread = threading.local()


def _none() -> None:
    pass


def _do_nothing() -> None:
    pass


def _take_no_requests(request: _core.Request) -> None:
    request.begin()
    request.reply_error("CallerError", "this Caller takes no requests")
    request.finish(False)


def _refuse_because(request: _core.Request, error: Exception) -> None:
    if request.begin():
        request.reply_error(type(error).__name__, str(error))
        request.finish(False)
