"""Runs cells."""

from __future__ import annotations

import contextvars
import functools
import math
import sys
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..aio import loops
from ..callers.caller import Call
from ..context import current_cell, current_parent
from ..ipython.shell.shell import text_of
from ..util.json import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core import Request
    from ..callers.caller import Caller
    from ..ipython.shell.shell import ZMQInteractiveShell
    from ..kernel.kernel import Kernel


@dataclass(frozen=True)
class Tags:
    """What the tags of a cell ask for."""

    #: The cell is expected to fail: cells behind it run if it does, and it fails if it does not.
    raises_exception: bool = False
    #: Whether cells behind it are aborted when it fails; None: as the client said.
    stop_on_error: bool | None = None
    #: How long it may take, seconds.
    timeout: float | None = None
    #: A failure is not shown; the cell counts as successful.
    suppress_error: bool = False

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> Tags:
        """Reads ``raises-exception``, ``stop-on-error=true|false``, ``timeout=SECONDS`` and ``suppress-error``. Other
        tags are other people's, and what cannot be read counts as not said."""
        tags = metadata.get("tags")
        if not tags or not isinstance(tags, (list, tuple)):
            return _NO_TAGS
        found: dict[str, Any] = {}
        for tag in tags:
            name, _, value = str(tag).partition("=")
            value = value.strip().lower()
            match name.strip().replace("_", "-"):
                case "raises-exception":
                    found["raises_exception"] = True
                case "suppress-error":
                    found["suppress_error"] = True
                case "stop-on-error" if value in ("true", "false", ""):
                    found["stop_on_error"] = value != "false"
                case "timeout":
                    try:
                        seconds = float(value)
                    except ValueError:
                        continue
                    if seconds > 0 and not math.isinf(seconds):
                        found["timeout"] = seconds
        return cls(**found)

    def aborts_others(self) -> bool | None:
        """Whether a failure aborts the cells behind; None: as the client said."""
        if self.stop_on_error is None and (self.raises_exception or self.timeout):
            return False
        return self.stop_on_error


_NO_TAGS = Tags()


class Cell(Call):
    """A cell that has begun and not ended."""

    is_cell = True

    def __init__(self, request: Request, shell: ZMQInteractiveShell, task: loops.Task) -> None:
        super().__init__(task)
        self.request = request
        self.parent = request.parent()
        #: What it is to run.
        self.code = request.code or ""
        self.shell = shell
        #: Its number, as in ``In [5]:``.
        self.number = 0
        #: What ``get_ipython().execution_count`` is while it runs.
        self.execution_count = 0
        #: What it has shown of an exception; for its reply.
        self.error: dict[str, Any] | None = None
        #: What code has shown that runs as a part of it, elsewhere: an exception, and its content.
        self.shown: tuple[BaseException | None, dict[str, Any]] = None, {}
        #: IPython's record of it.
        self.exec_result: Any = None
        #: What goes to the frontend with its reply: pages, the next input.
        self.payloads: list[dict[str, Any]] = []
        self.tags = Tags.of(self.parent.metadata)
        #: Its time was up.
        self.timed_out = False
        #: It was answered without its thread, which has not ended it.
        self.abandoned = False
        #: What ends it is being shown, or it has ended.
        self.ending = False


class CellQueue:
    """Runs the cells of one shell on its Caller, one after the other, each as a task.

    All of them run in one context, so that a ContextVar that one cell sets is seen by the next.
    """

    def __init__(self, kernel: Kernel, caller: Caller, shell: Callable[[], ZMQInteractiveShell]) -> None:
        self._kernel = kernel
        self._caller = caller
        self._shell = shell
        self._waiting: deque[Request] = deque()
        self.context = contextvars.copy_context()
        #: The cell that runs.
        self._running: Request | None = None
        #: Called when a cell has ended and none waits.
        self.on_empty: Callable[[], None] | None = None

    def add(self, request: Request) -> None:
        """Adds a cell."""
        self._waiting.append(request)
        if not self.is_running:
            self._start_next()

    @property
    def is_running(self) -> bool:
        """A cell runs."""
        return self._running is not None

    def _start_next(self) -> None:
        self._running = None
        while self._waiting:
            request = self._waiting.popleft()
            # False: it has been aborted, and answered, in the meantime.
            if request.begin():
                self._running = request
                start(self._kernel, self._caller, self._shell(), request, self.context, self)
                return
        if self.on_empty is not None:
            self.on_empty()

    def go_on(self, request: Request) -> None:
        """A cell, as the last thing that its task does, lets the next one have the next turn of the loop."""
        loop = self._caller._loop
        # A task that began at once would not get into the context, which this one has not left.
        if self._waiting and isinstance(loop, loops.AsyncioTasks) and loop.starts_tasks_later():
            self.ended(request)

    def ended(self, request: Request) -> None:
        """The task of a cell has ended, in whatever way."""
        if self._running is request:
            self._start_next()


def start(
    kernel: Kernel,
    caller: Caller,
    shell: ZMQInteractiveShell,
    request: Request,
    context: contextvars.Context,
    queue: CellQueue | None = None,
) -> None:
    """Runs the code of an ``execute_request`` that has begun as a task of this Caller, in this context; of the queue
    that it was in, if it was in one."""
    assert caller._loop is not None

    async def run(task: loops.Task) -> None:
        await run_cell(kernel, caller, Cell(request, shell, task))
        if queue is not None:
            queue.go_on(request)

    on_done = None if queue is None else functools.partial(queue.ended, request)
    caller._loop.spawn(run, context=context, on_done=on_done, name="cell")


async def run_cell(kernel: Kernel, caller: Caller, cell: Cell) -> None:
    """Runs a cell, as the current task of its Caller, and answers it."""
    request, shell, task = cell.request, cell.shell, cell.task
    raw = task.raw or loops.current_task()
    caller.running[raw] = cell
    ok = False
    timer = None
    try:
        current_cell.set(cell)
        current_parent.set(cell.parent)
        shell.begin_cell(cell)
        if caller is kernel.main:
            kernel.interrupts.begin_cell()
        if not request.silent:
            request.publish_input(cell.number)
        if cell.tags.timeout:
            timer = kernel.when_time_is_up(cell, caller, cell.tags.timeout)
        try:
            cell.in_user_code = True
            if cell.interrupted:
                raise KeyboardInterrupt
            reply = await kernel.do_execute(
                cell.code,
                request.silent,
                request.store_history,
                request.user_expressions,
                cell_meta=cell.parent.metadata,
            )
        finally:
            cell.in_user_code = False
        if reply["status"] == "ok" and cell.cancel_requested and not task.is_being_cancelled():
            # What it waited for ended before the cancellation came: the child process that got the same SIGINT, say.
            raise KeyboardInterrupt
        ok = reply["status"] == "ok"
        request.reply(encode(reply))
    except BaseException as error:
        # IPython shows what user code raises; this came from around it (an interrupt at its very start,
        # a broken hook, a reply that is no JSON).
        content = show(cell, error)
        request.reply_error(content["ename"], content["evalue"], content["traceback"])
        if isinstance(error, SystemExit):
            raise
    finally:
        del caller.running[raw]
        cell.ending = True
        if timer is not None:
            timer.cancel()
        if task.is_being_cancelled():
            task.uncancel()
        # A worker is free before others can know that it is: what they send then finds it.
        caller.be_idle()
        request.finish(ok, cell.tags.aborts_others())


def time_is_up(cell: Cell) -> TimeoutError:
    """What a cell that has taken too long ends with."""
    return TimeoutError(f"the cell took longer than {cell.tags.timeout:g} seconds")


def show(cell: Cell, error: BaseException | None) -> dict[str, Any]:
    """Publishes an exception that IPython has not shown, and returns its content.

    IPython prints what goes wrong while it formats a traceback, and publishes nothing then: the client gets the name
    and the text of the exception in any case.
    """
    if error is None:
        error = KeyboardInterrupt()
    elif loops.is_cancellation(error):
        error = KeyboardInterrupt().with_traceback(error.__traceback__)
    if cell.timed_out and isinstance(error, KeyboardInterrupt):
        cell.ending = True
        error = time_is_up(cell).with_traceback(error.__traceback__)
    shell = cell.shell
    try:
        # With no more than one frame it was raised by the kernel: there is no code of the user's to show.
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            shell.showtraceback((type(error), error, error.__traceback__))
    except BaseException as second:  # noqa: BLE001 - whatever is wrong with the shell, the client gets an answer
        print(
            f"callboard: the traceback of {type(error).__name__} cannot be shown: {text_of(second)}",
            file=sys.__stderr__,
        )
    if cell.error is None:
        shell.show_plainly(error)
    assert cell.error is not None
    return cell.error
