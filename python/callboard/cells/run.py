"""Runs cells."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..aio.cancellation import is_cancellation
from ..context import current_cell, current_parent
from ..interrupts.call import CANCELLED, NO_STOP
from ..util.errors import content_of, text_of
from ..util.json import encode
from .cell import ANSWERING, ENDED, IN_USER_CODE, Cell

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Callable

    from .._core import Request
    from ..aio.loops.base import Task
    from ..callers.caller import Caller
    from ..interrupts.handler import Interrupts
    from ..ipython.shell.shell import ZMQInteractiveShell
    from ..protocols import CellLike, KernelServices
    from .timeouts import Timeouts


class CellRunner:
    """Runs cells as tasks of Callers, and answers them."""

    def __init__(
        self, kernel: KernelServices, main: Caller, interrupts: Interrupts, make_timeouts: Callable[[], Timeouts]
    ) -> None:
        self._kernel = kernel
        self._main = main
        self._interrupts = interrupts
        self._make_timeouts = make_timeouts
        #: Gives cells to a handler that a library has put into ``kernel.shell_handlers``, if one has.
        self.run_instead: Callable[[Caller, ZMQInteractiveShell, Request, Task], Awaitable[None]] | None = None

    def start(
        self,
        caller: Caller,
        shell: ZMQInteractiveShell,
        request: Request,
        context: contextvars.Context,
        at_end: Callable[[Request], None] | None = None,
        on_done: Callable[[], None] | None = None,
    ) -> None:
        """Runs an ``execute_request`` that has begun as a task of this Caller, in this context.

        Args:
            at_end: Called with the request at the end of the task.
            on_done: Called when the task has ended, also if it was cancelled.
        """
        loop = caller.loop_thread.loop
        assert loop is not None

        has_begun = False

        async def run(task: Task) -> None:
            nonlocal has_begun
            has_begun = True
            try:
                if self.run_instead is None:
                    await self.run(caller, Cell(request, shell, task))
                else:
                    await self.run_instead(caller, shell, request, task)
            except BaseException as error:
                # Of a trace function of the user's, say, in what makes the cell or answers it.
                refuse(request, error)
                raise
            if at_end is not None:
                at_end(request)

        def done() -> None:
            if not has_begun:
                request.give_up("RuntimeError", "the task of this cell has ended before it began")
            if on_done is not None:
                on_done()

        loop.spawn(run, context=context, on_done=done, name="cell")

    async def run(self, caller: Caller, cell: Cell) -> None:
        """Runs a cell in the current task, and answers it."""
        request, shell, task = cell.request, cell.shell, cell.task
        raw = task.raw
        running = caller.loop_thread.calls.by_task
        running[raw] = cell
        ok = False
        timer = None
        try:
            current_cell.set(cell)
            current_parent.set(cell.parent)
            shell.begin_cell(cell)
            if caller is self._main:
                self._interrupts.begin_cell()
            if not request.silent:
                request.publish_input(cell.number)
            if cell.tags.timeout:
                timer = self._make_timeouts().start(cell, caller, cell.tags.timeout)
            try:
                cell.phase = IN_USER_CODE
                if cell.stop_request is not NO_STOP:
                    raise KeyboardInterrupt
                answer: Any = self._kernel.do_execute(
                    cell.code,
                    request.silent,
                    request.store_history,
                    request.user_expressions,
                    cell_meta=cell.parent.metadata,
                )
                # That of a library may be no coroutine function.
                reply = answer if type(answer) is dict else await answer
            finally:
                cell.phase = ANSWERING
            if reply["status"] == "ok" and cell.stop_request is CANCELLED and not task.is_being_cancelled():
                # It went on before the cancellation came: it has awaited a child process that got the same SIGINT, say.
                raise KeyboardInterrupt
            ok = reply["status"] == "ok"
            request.reply(encode(reply))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it ends only this cell
            # IPython shows exceptions of user code. This one is from around it: an interrupt at its very start, a
            # broken hook, a reply that is no JSON.
            content = show(cell, error)
            request.reply_error(content["ename"], content["evalue"], content["traceback"])
        finally:
            del running[raw]
            cell.phase = ENDED
            if timer is not None:
                timer.cancel()
            if task.is_being_cancelled():
                task.uncancel()
            # Before the reply: who sends a cell because of it finds this worker idle.
            caller.loop_thread.be_idle()
            request.finish(ok, cell.tags.aborts_others())


def failure_of(cell: CellLike, error: BaseException | None) -> dict[str, Any]:
    """The content of the exception that a cell has ended with, which has been shown, or is now. None: the cell has not
    failed, which its tag asks for."""
    if error is None:
        return show(cell, RuntimeError("this cell has the tag raises-exception, but it raised none"))
    for failed, content in ((cell.failed, cell.error), cell.ended_with, cell.shown):
        if failed is error and content is not None:
            return content
    if cell.shell.is_shown_by_user(error):
        return content_of(_as_shown(cell, error))
    # Formatting it failed or was interrupted.
    return show(cell, error)


def refuse(request: Request, error: BaseException) -> None:
    """Answers a request that cannot be carried out, because of this exception."""
    request.give_up(type(error).__name__, text_of(error))


def show(cell: CellLike, error: BaseException) -> dict[str, Any]:
    """Publishes an exception that IPython has not shown. Returns its content.

    If IPython fails to format the traceback, it prints that failure and publishes nothing. The client still gets the
    name and the text of the exception.
    """
    error = _as_shown(cell, error)
    shell = cell.shell
    # A traceback of one frame is the kernel's own: there is no user code to show.
    is_own = error.__traceback__ is None or error.__traceback__.tb_next is None
    if is_own and cell.error is not None and cell.error["ename"] == type(error).__name__:
        return cell.error
    cell.error = None
    # IPython was interrupted while it formatted this one.
    is_interrupted = cell.interrupted and not isinstance(error, (KeyboardInterrupt, TimeoutError))
    try:
        if not is_own and not is_interrupted:
            shell.show_unreplaced(error)
    except BaseException as second:  # noqa: BLE001 - whatever is wrong with the shell, the client gets an answer
        print(
            f"callboard: the traceback of {type(error).__name__} cannot be shown: {text_of(second)}",
            file=sys.__stderr__,
        )
    if cell.error is None:
        shell.show_plainly(error)
    assert cell.error is not None
    return cell.error


def _as_shown(cell: CellLike, error: BaseException) -> BaseException:
    """What is shown for an exception: a cell that is cancelled shows that it was interrupted, or its time was up."""
    if is_cancellation(error):
        error = KeyboardInterrupt().with_traceback(error.__traceback__)
    if cell.timed_out and isinstance(error, KeyboardInterrupt):
        cell.notice_timeout()
        error = cell.timeout_error().with_traceback(error.__traceback__)
    return error
