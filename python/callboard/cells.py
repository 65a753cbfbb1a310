"""Runs cells."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from .interrupt import Cell
from .jsonutil import encode
from .shell import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core import Request
    from .kernel import Kernel


class CellQueue:
    """Runs the cells of one shell on its loop, one after the other, each as a task.

    All of them run in one context, so that a ContextVar that one cell sets is seen by the next.
    """

    def __init__(self, kernel: Kernel, loop: asyncio.AbstractEventLoop) -> None:
        self._kernel = kernel
        self._loop = loop
        self._waiting: deque[Request] = deque()
        self._context = contextvars.copy_context()
        #: The cell that runs.
        self.running: asyncio.Task | None = None
        #: Called when a cell has ended and none waits.
        self.on_empty: Callable[[], None] | None = None

    def add(self, request: Request) -> None:
        """Adds a cell."""
        self._waiting.append(request)
        if self.running is None:
            self._start_next()

    def _start_next(self) -> None:
        while self._waiting:
            request = self._waiting.popleft()
            # False: it has been aborted, and answered, in the meantime.
            if request.begin():
                cell = run_cell(self._kernel, request)
                self.running = self._loop.create_task(cell, name="cell", context=self._context)
                self.running.add_done_callback(self._ended)
                return
        if self.on_empty is not None:
            self.on_empty()

    def _ended(self, task: asyncio.Task) -> None:
        self.running = None
        if not task.cancelled():
            # Retrieved, so that asyncio does not complain: the client has been told.
            task.exception()
        self._start_next()


async def run_cell(kernel: Kernel, request: Request) -> None:
    """Runs the code of an ``execute_request`` and answers it."""
    task = asyncio.current_task()
    assert task is not None
    cell = kernel.interrupts.cells[task] = Cell()
    ok = False
    try:
        kernel.shell.begin_cell(request.parent())
        if not request.silent:
            request.publish_input(kernel.shell.execution_count)
        try:
            cell.in_user_code = True
            if cell.interrupted:
                raise KeyboardInterrupt
            reply = await kernel.do_execute(
                request.code,
                request.silent,
                request.store_history,
                request.user_expressions,
                cell_meta=kernel.shell.parent_header["metadata"],
            )
        finally:
            cell.in_user_code = False
        if reply["status"] == "ok" and cell.cancel_requested and not task.cancelling():
            # What it waited for ended before the cancellation came: the child process that got the same SIGINT, say.
            raise KeyboardInterrupt
        ok = reply["status"] == "ok"
        request.reply(encode(reply))
    except BaseException as error:
        # IPython shows what user code raises; this came from around it (an interrupt at its very start,
        # a broken hook, a reply that is no JSON).
        content = show(kernel, error)
        request.reply_error(content["ename"], content["evalue"], content["traceback"])
        if isinstance(error, SystemExit):
            raise
    finally:
        del kernel.interrupts.cells[task]
        if task.cancelling():
            task.uncancel()
        request.finish(ok)


def show(kernel: Kernel, error: BaseException) -> dict[str, Any]:
    """Publishes an exception that IPython has not shown, and returns its content."""
    if isinstance(error, asyncio.CancelledError):
        error = KeyboardInterrupt().with_traceback(error.__traceback__)
    shell = kernel.shell
    try:
        shell.showtraceback((type(error), error, error.__traceback__))
        content = shell.last_error
    except Exception as second:  # noqa: BLE001 - whatever is wrong with the shell, the client gets an answer
        print(
            f"callboard: the traceback of {type(error).__name__} cannot be shown: {text_of(second)}",
            file=sys.__stderr__,
        )
        content = None
    return content or {"ename": type(error).__name__, "evalue": text_of(error), "traceback": []}
