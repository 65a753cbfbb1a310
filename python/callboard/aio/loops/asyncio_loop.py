"""Event loops: what a Caller needs of asyncio's and of trio's.

trio is imported only where it runs or is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import sys
import threading
import traceback
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from ..context import report_for_parent
from ..context_inheritance import follow_into_trio
from .pending import Pending
from .wakeups import current_library

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    import trio

logger = logging.getLogger("callboard.caller")

#: What an event loop can be made with, by backend.
OPTIONS = {
    "asyncio": ("debug", "loop_factory", "use_uvloop"),
    "trio": ("clock", "instruments", "restrict_keyboard_interrupt_to_checkpoints", "strict_exception_groups"),
}

#: When a loop of asyncio ends, seconds until a task that goes on is cancelled again. (trio cancels what goes on at each
#: of its checkpoints.)
_INSISTENCE = 3.0


def current_task() -> Any:
    """The task that runs in the calling thread, asyncio's or trio's; None if none does."""
    if asyncio._get_running_loop() is not None:
        task = asyncio.current_task()
        if task is not None:
            return task
    # None, where somebody has said sys.modules["trio"] = None.
    trio = sys.modules.get("trio")
    if trio is not None:
        with contextlib.suppress(RuntimeError, AttributeError):
            return trio.lowlevel.current_task()
    return None


def is_cancellation(error: BaseException) -> bool:
    """Whether this is what a loop raises in a task that is cancelled."""
    if isinstance(error, asyncio.CancelledError):
        return True
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    if isinstance(error, BaseExceptionGroup):
        # A nursery was cancelled, and nothing else.
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


def is_heeded(error: BaseException) -> bool:
    """Whether the task that calls this is being cancelled, and has to raise this error."""
    if current_library() == "trio":
        return is_cancellation(error) and not isinstance(error, asyncio.CancelledError)
    task = None if asyncio._get_running_loop() is None else asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def is_stopped(error: BaseException) -> bool:
    """Whether this is what an interrupt raises, or a cancellation; a group, if all in it are."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_stopped(inner) for inner in error.exceptions)
    return isinstance(error, KeyboardInterrupt) or is_cancellation(error)


def in_trio_task() -> bool:
    """Whether a task of trio's, or trio on its behalf, has control in the calling thread."""
    trio = sys.modules.get("trio")
    with contextlib.suppress(RuntimeError, AttributeError):
        return trio is not None and trio.lowlevel.current_task() is not None
    return False


def is_protected_by_trio() -> bool:
    """Whether what is interrupted by a signal is code of trio's that no exception may be raised in. To be called by the
    signal's handler."""
    import trio

    return trio.lowlevel.currently_ki_protected()


def check_backend(backend: str) -> None:
    """Raises an error that says what to do, unless the backend can be used here."""
    if backend not in OPTIONS:
        msg = f"{backend!r} is not a backend: the backends are asyncio and trio"
        raise ValueError(msg)
    if backend == "trio":
        try:
            import trio  # noqa: F401
        except ImportError as error:
            msg = f"trio is not installed: {sys.executable} -m pip install trio trio-asyncio"
            raise RuntimeError(msg) from error


def check_guest(host: str, backend: str) -> None:
    """Raises an error that says what to do, unless this backend can be used as a guest of the other one."""
    check_backend(backend)
    if host == "trio":
        try:
            import_trio_asyncio()
        except ImportError as error:
            msg = f"asyncio on a trio Caller needs trio-asyncio: {sys.executable} -m pip install trio-asyncio"
            raise RuntimeError(msg) from error


def import_trio_asyncio() -> Any:
    """The module, without what importing it does to others: to ``asyncio.run`` and every other loop of the process that
    is not trio's, which from then on would run in trio."""
    if sys.modules.get("trio_asyncio") is None:
        policy = asyncio.get_event_loop_policy()
        import trio_asyncio

        trio_asyncio._loop._FakedPolicy.policy = policy
    import trio_asyncio

    return trio_asyncio


def check_options(backend: str, options: dict[str, Any] | None) -> None:
    """Raises an error that says what to do, unless an event loop can be made with these options."""
    options = options or {}
    for name in options:
        if name not in OPTIONS[backend]:
            msg = f"{name!r} is no option of {backend}: its options are {', '.join(OPTIONS[backend])}"
            raise ValueError(msg)
    if options.get("use_uvloop"):
        _uvloop(True)


_importing = threading.Lock()


def _uvloop(wanted: bool | None) -> Any:
    """The module uvloop; None if it is not wanted, or not installed and not asked for."""
    if wanted is False:
        return None
    try:
        # If two threads import a module that fails, the second one may get what is left of it.
        with _importing:
            import uvloop
    except ImportError:
        if wanted:
            msg = f"uvloop is not installed: {sys.executable} -m pip install uvloop"
            raise RuntimeError(msg) from None
        return None
    return uvloop


def new_asyncio_loop(
    use_uvloop: bool | None = None, loop_factory: Any = None, debug: bool | None = None
) -> asyncio.AbstractEventLoop:
    """A loop of the factory (a callable, or where to import one: ``package.module.function``); else one of uvloop's
    where that is installed and not unwanted; else one of asyncio's."""
    if isinstance(loop_factory, str):
        from importlib import import_module

        module, _, name = loop_factory.rpartition(".")
        loop_factory = getattr(import_module(module), name)
    if loop_factory is not None:
        loop = loop_factory()
    else:
        uvloop = _uvloop(use_uvloop)
        # Not asyncio.new_event_loop(): where somebody has imported trio-asyncio, that makes one of trio's.
        is_patched = sys.modules.get("trio_asyncio") is not None
        new = asyncio.SelectorEventLoop if is_patched else asyncio.new_event_loop
        loop = new() if uvloop is None else uvloop.new_event_loop()
    if debug is not None:
        loop.set_debug(debug)
    return loop


# -- tasks ----------------------------------------------------------------------------------------------


class Task(Protocol):
    """A task of a loop."""

    #: asyncio's or trio's own object.
    raw: Any

    def cancel_soon(self, before: Callable[[], object] | None = None) -> None:
        """Cancels it, in its loop; calls `before` there first. May be called from any thread, and by a signal
        handler."""

    def is_being_cancelled(self) -> bool:
        """Whether a cancellation has been asked for and not taken back."""

    def uncancel(self) -> None:
        """Takes cancellations back; by the task itself, once it has heeded them."""

    def may_be_hit(self) -> bool:
        """Whether a signal handler that has interrupted it may raise an exception in it, and not hit the loop's own
        code."""

    async def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        """In a task that `Tasks.spawn_plain` has started: awaits this so that `cancel_soon` cancels it."""

    def was_cancelled(self) -> bool:
        """Whether `wait_for` was cancelled, and has returned all the same."""


class Tasks(Protocol):
    """Something that starts tasks in the calling thread's loop."""

    def spawn(
        self,
        func: Callable[..., Awaitable[Any]],
        *args: Any,
        context: contextvars.Context | None = None,
        on_done: Callable[[], None] | None = None,
        name: str = "call",
    ) -> Task:
        """Runs ``func(task, *args)`` as a task of this name, in this very context (not a copy). `on_done` is called
        when it has ended, in whatever way."""

    def spawn_plain(
        self, func: Callable[..., Coroutine[Any, Any, Any]], arg: Any, context: contextvars.Context | None
    ) -> None:
        """Runs ``func(task, arg)`` as a task, for as little as it can cost: the function keeps a reference to
        ``task.raw``, raises nothing but a cancellation, and can be cancelled only in `Task.wait_for`."""


class AsyncioTask:
    raw: asyncio.Task = None  # type: ignore[assignment]

    def cancel_soon(self, before: Callable[[], object] | None = None) -> None:
        if self.raw is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has closed, and the task with it
            # Also from the loop's own thread: only this wakes a loop that waits.
            self.raw.get_loop().call_soon_threadsafe(self._cancel, before)

    def _cancel(self, before: Callable[[], object] | None) -> None:
        if before is not None:
            before()
        self.raw.cancel()

    def is_being_cancelled(self) -> bool:
        return self.raw.cancelling() > 0

    def uncancel(self) -> None:
        while self.raw.cancelling():
            self.raw.uncancel()

    def may_be_hit(self) -> bool:
        return True

    async def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    def was_cancelled(self) -> bool:
        return False


class AsyncioTasks:
    """Starts tasks in an asyncio loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # asyncio itself refers to tasks weakly.
        self._all: set[asyncio.Task] = set()

    def starts_tasks_later(self) -> bool:
        """Whether a task begins in a turn of the loop of its own, and not (as an eager one) where it is made."""
        return self.loop.get_task_factory() is None

    def spawn(
        self,
        func: Callable[..., Awaitable[Any]],
        *args: Any,
        context: contextvars.Context | None = None,
        on_done: Callable[[], None] | None = None,
        name: str = "call",
    ) -> AsyncioTask:
        task = AsyncioTask()
        raw = task.raw = self.loop.create_task(func(task, *args), name=name, context=context)  # type: ignore[arg-type]
        self._all.add(raw)

        def done(raw: asyncio.Task) -> None:
            self._all.discard(raw)
            if not raw.cancelled():
                # Retrieved, so that asyncio does not complain: whoever waits for it has been told.
                raw.exception()
            if on_done is not None:
                on_done()

        raw.add_done_callback(done)
        return task

    def spawn_plain(
        self, func: Callable[..., Coroutine[Any, Any, Any]], arg: Any, context: contextvars.Context | None
    ) -> None:
        task = AsyncioTask()
        # An eager loop runs the function before this returns.
        task.raw = self.loop.create_task(func(task, arg), context=context)


def _spawn_system_task(*args: Any, **kwargs: Any) -> trio.lowlevel.Task:
    """trio's own function, and not what kernels put in its place for users."""
    import trio

    spawn = trio.lowlevel.spawn_system_task
    return getattr(spawn, "__wrapped__", spawn)(*args, **kwargs)


class TrioTask:
    raw: Any = None
    _scope: trio.CancelScope | None = None

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token

    @property
    def scope(self) -> trio.CancelScope:
        """What is cancelled. Made in trio's thread, where it is needed first."""
        if self._scope is None:
            import trio

            self._scope = trio.CancelScope()
        return self._scope

    def cancel_soon(self, before: Callable[[], object] | None = None) -> None:
        import trio

        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._cancel, before)

    def _cancel(self, before: Callable[[], object] | None) -> None:
        if before is not None:
            before()
        self.scope.cancel()

    def is_being_cancelled(self) -> bool:
        return self._scope is not None and self._scope.cancel_called

    def uncancel(self) -> None:
        """A trio scope stays cancelled until it ends."""

    def may_be_hit(self) -> bool:
        return not is_protected_by_trio()

    async def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        with self.scope:
            return await awaitable

    def was_cancelled(self) -> bool:
        return self._scope is not None and self._scope.cancelled_caught


class TrioTasks:
    """Starts tasks in the trio run of the thread that makes this, beside whatever else runs there."""

    def __init__(self) -> None:
        import trio

        follow_into_trio()
        self.token = trio.lowlevel.current_trio_token()
        self._all: set[TrioTask] = set()
        self._emptied: trio.Event | None = None
        #: What is to be called because a task has ended.
        self.done: deque[Callable[[], None]] = deque()
        #: The run is coming to its end: nothing can be spawned any more.
        self.closed = False

    def spawn(
        self,
        func: Callable[..., Awaitable[Any]],
        *args: Any,
        context: contextvars.Context | None = None,
        on_done: Callable[[], None] | None = None,
        name: str = "call",
    ) -> TrioTask:
        import trio

        task = TrioTask(self.token)
        self._all.add(task)
        # Interrupts may hit what it runs, but not trio's own code.
        run = trio.lowlevel.disable_ki_protection(self._run)
        task.raw = _spawn_system_task(run, task, func, args, on_done, name=name, context=context)
        return task

    async def _run(
        self,
        task: TrioTask,
        func: Callable[..., Awaitable[Any]],
        args: tuple,
        on_done: Callable[[], None] | None,
    ) -> None:
        import trio

        try:
            task.raw = trio.lowlevel.current_task()
            with task.scope:
                await func(task, *args)
        except BaseException as error:
            if is_cancellation(error) or isinstance(error, GeneratorExit):
                raise
            # In a system task it would end trio.
            logger.exception("a task of a Caller failed")
        finally:
            self._all.discard(task)
            if self._emptied is not None and not self._all:
                self._emptied.set()
            if on_done is not None:
                # When the task has left its context, which the next one may share.
                self.done.append(on_done)
                with contextlib.suppress(trio.RunFinishedError):
                    self.token.run_sync_soon(self.call_done)

    def spawn_plain(
        self, func: Callable[..., Coroutine[Any, Any, Any]], arg: Any, context: contextvars.Context | None
    ) -> None:
        import trio

        task = TrioTask(self.token)
        func = trio.lowlevel.disable_ki_protection(func)
        task.raw = _spawn_system_task(func, task, arg, name="call", context=context)

    def abandon(self) -> None:
        """Ends the tasks that trio has dropped when it failed."""
        self.closed = True
        for task in list(self._all):
            with contextlib.suppress(RuntimeError):  # it will not end
                task.raw.context.run(task.raw.coro.close)
        self._all.clear()

    def call_done(self) -> None:
        """Calls what waits for the end of tasks that have ended."""
        while self.done and not self.closed:
            self.done.popleft()()

    async def cancel_all(self) -> None:
        """Cancels all tasks that `spawn` has started, and waits until they have ended."""
        import trio

        while self._all:
            for task in self._all:
                task.scope.cancel()
            self._emptied = trio.Event()
            await self._emptied.wait()


# -- loops ----------------------------------------------------------------------------------------------


class Served(Protocol):
    """A Caller, as its loop sees it."""

    def fileno(self) -> int:
        """The descriptor that is readable when there is something to do."""

    def begin(self) -> None:
        """The loop runs; also when it has started anew. Called in it, before `drain`."""

    def drain(self) -> None:
        """Does it. Raises nothing but what ends more than a call."""

    def is_waited_for(self) -> bool:
        """Whether a task of the loop waits for something that `drain` brings."""

    def failed(self, error: BaseException) -> None:
        """The loop ends with this error."""

    async def loop_ends(self) -> None:
        """The loop, which is somebody else's, is about to end: stops all that is the Caller's."""

    def ended(self) -> None:
        """Nobody calls `drain` any more."""

    def lost(self, how: str) -> None:
        """As `ended`, without a warning before."""


class AsyncioLoop(AsyncioTasks):
    """asyncio's event loop, in the thread of a Caller."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(new_asyncio_loop(**options))
        self.loop.set_exception_handler(report_for_parent)
        self._stopping = False
        self._grace: float | None = None

    def run(self, served: Served) -> None:
        """Runs until `stop`."""
        loop, fileno = self.loop, served.fileno()
        asyncio.set_event_loop(loop)
        try:
            loop.call_soon(served.begin)
            loop.add_reader(fileno, served.drain)
            while not self._stopping:
                self._run(loop.run_forever)
        except BaseException as error:
            served.failed(error)
            raise
        finally:
            try:
                self._cancel_all()
            finally:
                with contextlib.suppress(RuntimeError):  # it is closed
                    loop.remove_reader(fileno)
                loop.close()
                asyncio.set_event_loop(None)

    def stop(self, grace: float | None = None) -> None:
        """Ends the loop; waits so many seconds (None: as long as it takes) for its tasks. To be called in it."""
        self._stopping, self._grace = True, grace
        self.loop.stop()

    def is_stale(self) -> bool:
        """Whether it serves nobody any more."""
        return False

    def _run(self, run: Callable[..., Any], *args: Any) -> None:
        try:
            run(*args)
        except KeyboardInterrupt:
            # It hit a callback of the user's that no cell was waiting for.
            traceback.print_exc()
        except SystemExit:
            logger.warning("sys.exit() in a callback does not end the kernel: shut it down instead")

    def _cancel_all(self) -> None:
        """Cancels what still runs, so that ``finally`` blocks of the user's tasks are executed."""
        loop = self.loop
        if loop.is_closed():
            return
        end = None if self._grace is None else loop.time() + self._grace
        while tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            left = _INSISTENCE if end is None else min(_INSISTENCE, max(0, end - loop.time()))
            self._run(loop.run_until_complete, asyncio.wait(tasks, timeout=left))
            if left == 0:
                # What does not end is left behind: nothing is to wait for it.
                break
        self._run(loop.run_until_complete, loop.shutdown_asyncgens())


class TrioLoop:
    """trio's event loop, in the thread of a Caller."""

    def __init__(self, options: dict[str, Any]) -> None:
        check_backend("trio")
        self._options = options
        self._tasks: TrioTasks | None = None
        self._end: trio.Event | None = None
        self._stopping = False
        self._grace: float | None = None

    def run(self, served: Served) -> None:
        """Runs until `stop`. Starts anew when trio has failed."""
        import trio

        while not self._stopping:
            try:
                trio.run(self._main, served, **self._options)
            except trio.TrioInternalError:
                # Something of the user's that trio cannot go on after, such as a nursery that was entered and not left.
                traceback.print_exc()
                print("callboard: trio has failed, and all that ran on it. It is started anew", file=sys.stderr)
                if self._tasks is not None:
                    self._tasks.abandon()

    async def _main(self, served: Served) -> None:
        import trio

        self._end = trio.Event()
        before, tasks = self._tasks, TrioTasks()
        self._tasks = tasks
        if before is not None:
            tasks.done.extend(before.done)
        served.begin()
        _spawn_system_task(_watch_in_trio, served, name="callboard inbox")
        tasks.call_done()
        try:
            await self._end.wait()
            with trio.CancelScope() as scope:
                if self._grace is not None:
                    scope.deadline = trio.current_time() + self._grace
                await tasks.cancel_all()
        finally:
            tasks.closed = True

    def stop(self, grace: float | None = None) -> None:
        """Ends the loop; waits so many seconds (None: as long as it takes) for its tasks. To be called in it."""
        assert self._end is not None
        self._stopping, self._grace = True, grace
        self._end.set()

    def is_stale(self) -> bool:
        """Whether it serves nobody any more."""
        return False

    def spawn(self, *args: Any, **kwargs: Any) -> TrioTask:
        """See `Tasks.spawn`."""
        assert self._tasks is not None
        return self._tasks.spawn(*args, **kwargs)

    def spawn_plain(self, *args: Any) -> None:
        """See `Tasks.spawn_plain`."""
        assert self._tasks is not None
        self._tasks.spawn_plain(*args)


async def _watch_in_trio(served: Served) -> None:
    import trio

    fileno = served.fileno()

    async def step() -> None:
        await trio.lowlevel.wait_readable(fileno)
        try:
            served.drain()
        except KeyboardInterrupt:
            traceback.print_exc()
        except SystemExit:
            logger.warning("sys.exit() in a callback does not end the kernel: shut it down instead")

    try:
        while True:
            await step()
    except trio.Cancelled:
        # The run ends. Tasks that still wait, shielded, must be woken all the same.
        with trio.CancelScope(shield=True):
            while served.is_waited_for():
                await step()
        raise


class BorrowedAsyncio(AsyncioTasks):
    """The asyncio loop that the calling thread runs already, as the loop of a Caller. Somebody else starts and ends
    it, and may forget to cancel its tasks."""

    def __init__(self, served: Served) -> None:
        super().__init__(asyncio.get_running_loop())
        self._served = served
        self._fileno = served.fileno()
        self._over = asyncio.Event()
        reader = _Reader(served)
        self._reader = weakref.ref(reader)
        # In no context: that of whoever has made the Caller has nothing to do with the calls.
        contextvars.Context().run(self._start, reader)

    def _start(self, reader: _Reader) -> None:
        self.loop.add_reader(self._fileno, reader)
        self._watcher = self.loop.create_task(self._watch(), name="callboard inbox")

    async def _watch(self) -> None:
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            # With all others, because the loop ends.
            await self._served.loop_ends()
            raise
        finally:
            if (reader := self._reader()) is not None:
                reader.served = None
                del reader
                self.loop.remove_reader(self._fileno)
                self._served.ended()

    def stop(self, _grace: float | None = None) -> None:
        """Watches no more. To be called in the loop."""
        self._over.set()

    def is_stale(self) -> bool:
        """Whether it serves nobody any more, because the thread runs another loop now."""
        return self.loop.is_closed() or (current_library() is not None and not self.loop.is_running())

    def forget(self) -> None:
        """The loop is not going to run any more, as far as can be seen."""
        if (reader := self._reader()) is not None:
            reader.served = None
        # It may be pending for ever, and that is as it should be.
        self._watcher._log_destroy_pending = False  # type: ignore[attr-defined]
        with contextlib.suppress(RuntimeError):  # it is closed
            self.loop.remove_reader(self._fileno)
            self._watcher.cancel()


class _Reader:
    """What an asyncio loop calls when an inbox is readable. Only the loop refers to it: it ends with the loop."""

    def __init__(self, served: Served) -> None:
        self.served: Served | None = served

    def __call__(self) -> None:
        if self.served is not None:
            self.served.drain()

    def __del__(self) -> None:
        if self.served is not None and not sys.is_finalizing():
            self.served.lost("its event loop was closed")


class BorrowedTrio(TrioTasks):
    """The trio run that the calling thread is in already, as the loop of a Caller."""

    def __init__(self, served: Served) -> None:
        import trio

        super().__init__()
        self._served = served
        self._scope = trio.CancelScope()
        _spawn_system_task(self._watch, name="callboard inbox")

    async def _watch(self) -> None:
        import trio

        try:
            with self._scope:
                await _watch_in_trio(self._served)
        finally:
            if not self._scope.cancel_called:
                with trio.CancelScope(shield=True):
                    await self._served.loop_ends()
            self._served.ended()

    def stop(self, _grace: float | None = None) -> None:
        """Watches no more. To be called in the loop."""
        self._scope.cancel()

    def is_stale(self) -> bool:
        """Whether it serves nobody any more."""
        return False

    def forget(self) -> None:
        """The loop is not going to run any more."""


def borrow(served: Served, backend: str) -> BorrowedAsyncio | BorrowedTrio:
    """The event loop that the calling thread runs already, as the loop of a Caller."""
    return BorrowedTrio(served) if backend == "trio" else BorrowedAsyncio(served)


# -- guests ---------------------------------------------------------------------------------------------


class Guest:
    """The other event loop, in the thread of a Caller. For its host's thread only."""

    def __init__(self, on_end: Callable[[BaseException | None], None]) -> None:
        self._on_end = on_end
        #: Is set when it has ended.
        self.ended: Pending[None] = Pending()
        self._waiting: list[Callable[[Tasks], object]] | None = []
        self._tasks: Any = None

    def call(self, start: Callable[[Tasks], object]) -> None:
        """Calls ``start(tasks)`` in the guest's loop, soon."""
        if self._waiting is not None:
            self._waiting.append(start)
        else:
            self._call_soon(start)

    def stop(self) -> None:
        """Cancels its tasks and ends it."""
        self.call(lambda _tasks: self._end.set())

    def _end_with(self, error: BaseException | None) -> None:
        self._on_end(error)
        self.ended.set_result(None)

    def _begin(self, tasks: Any, end: trio.Event) -> None:
        """It runs."""
        self._tasks, self._end = tasks, end
        waiting, self._waiting = self._waiting or [], None
        for start in waiting:
            self._call_soon(start)

    def _call_soon(self, start: Callable[[Tasks], object]) -> None:
        raise NotImplementedError


class AsyncioGuest(Guest):
    """asyncio in the thread of a trio Caller: trio-asyncio's loop, as a task of trio's."""

    def __init__(self, host: TrioLoop | BorrowedTrio, on_end: Callable[[BaseException | None], None]) -> None:
        super().__init__(on_end)
        check_guest("trio", "asyncio")
        self._error: BaseException | None = None
        host.spawn(self._run, on_done=self._ended)

    async def _run(self, _task: Task) -> None:
        import trio

        trio_asyncio = import_trio_asyncio()
        try:
            async with trio_asyncio.open_loop() as loop:
                loop.set_exception_handler(report_for_parent)
                end = trio.Event()
                self._begin(AsyncioTasks(loop), end)
                await end.wait()
        except BaseException as error:
            if is_cancellation(error):
                raise
            self._error = error

    def _ended(self) -> None:
        self._end_with(self._error)

    def _call_soon(self, start: Callable[[Tasks], object]) -> None:
        self._tasks.loop.call_soon_threadsafe(start, self._tasks)


class TrioGuest(Guest):
    """trio in the thread of an asyncio Caller: trio's own guest mode."""

    def __init__(self, host: AsyncioTasks, on_end: Callable[[BaseException | None], None]) -> None:
        super().__init__(on_end)
        check_backend("trio")
        import trio

        def ended(outcome: Any) -> None:
            self._end_with(getattr(outcome, "error", None))

        trio.lowlevel.start_guest_run(
            self._run,
            run_sync_soon_threadsafe=host.loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=host.loop.call_soon,
            done_callback=ended,
            host_uses_signal_set_wakeup_fd=True,
        )

    async def _run(self) -> None:
        import trio

        end = trio.Event()
        self._begin(TrioTasks(), end)
        await end.wait()

    def _call_soon(self, start: Callable[[Tasks], object]) -> None:
        self._tasks.token.run_sync_soon(start, self._tasks)
