"""The interfaces between a Caller, its event loop and its tasks; for type checkers only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Callable, Coroutine


class Task(Protocol):
    """A task of a loop."""

    #: asyncio's or trio's own object; None until the task has begun.
    raw: Any

    def cancel_soon(self, before: Callable[[], object] | None = None) -> None:
        """Cancels the task, in its loop; calls `before` there first. May be called from any thread, and by a signal
        handler."""

    @property
    def cancel_has_come(self) -> bool:
        """Whether `cancel_soon` has cancelled it, and that has not been taken back. May be called from any thread."""

    def is_being_cancelled(self) -> bool:
        """Whether a cancellation has been asked for and not taken back. Called in the thread of its loop."""

    def uncancel(self) -> None:
        """Takes cancellations back. Called by the task itself, once it has handled them."""

    def may_be_hit(self) -> bool:
        """Whether a signal handler that has interrupted the task may raise an exception: not in the loop's own code."""

    async def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        """Awaits this so that `cancel_soon` cancels it. For tasks that `Tasks.spawn_plain` has started."""

    def was_cancelled(self) -> bool:
        """Whether `wait_for` was cancelled, and has returned all the same."""


class Tasks(Protocol):
    """Starts tasks in the calling thread's loop."""

    def spawn(
        self,
        func: Callable[..., Awaitable[Any]],
        *args: Any,
        context: contextvars.Context | None = None,
        on_done: Callable[[], None] | None = None,
        name: str = "call",
    ) -> Task:
        """Runs ``func(task, *args)`` as a task of this name, in this very context (not a copy). `on_done` is called
        when the task has ended, in whatever way."""

    def spawn_plain(
        self, func: Callable[..., Coroutine[Any, Any, Any]], arg: Any, context: contextvars.Context | None
    ) -> None:
        """Runs ``func(task, arg)`` as a task, as cheaply as possible: the function keeps a reference to ``task.raw``,
        raises nothing but a cancellation, and can be cancelled only in `Task.wait_for`."""


class Served(Protocol):
    """A Caller, as its loop sees it."""

    #: Its loop goes on whatever exception leaves it: it is one of a kernel's own.
    is_protected: bool

    def fileno(self) -> int:
        """The descriptor that is readable when there is something to do."""

    def begin(self) -> None:
        """The loop runs; also when it has been started anew. Called in the loop, before `drain`."""

    def drain(self) -> None:
        """Does what has come in. Raises only what ends more than a call."""

    def is_waited_for(self) -> bool:
        """Whether a task of the loop waits for something that `drain` brings."""

    def failed(self, error: BaseException) -> None:
        """The loop ends with this error."""

    async def loop_ends(self) -> None:
        """The loop, which the Caller has borrowed, is about to end: stops all that is the Caller's."""

    def ended(self) -> None:
        """`drain` is not called any more."""

    def lost(self, how: str) -> None:
        """As `ended`, without a warning before."""


class Loop(Tasks, Protocol):
    """The event loop of a Caller."""

    #: It runs whether or not a Caller uses it: the Caller neither starts nor ends it.
    is_borrowed: bool

    def stop(self, grace: float | None = None) -> None:
        """Ends the loop; waits so many seconds (None: as long as it takes) for its tasks. A borrowed loop goes on, and
        serves no more. Call it in the loop."""

    def starts_tasks_later(self) -> bool:
        """Whether a task may spawn, as its last act, another one in the context that it still runs in."""

    def is_stale(self) -> bool:
        """Whether a borrowed loop serves no more, because its thread runs another one now."""

    def forget(self) -> None:
        """A borrowed loop is not going to run any more, as far as can be seen."""


class OwnLoop(Loop, Protocol):
    """The event loop of a Caller that runs it."""

    def run(self, served: Served) -> None:
        """Runs until `stop`."""
