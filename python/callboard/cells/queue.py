"""The queue of cells of one shell."""

from __future__ import annotations

import contextvars
import functools
from collections import deque
from typing import TYPE_CHECKING

from .run import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core import Request
    from ..callers.caller import Caller
    from ..ipython.shell.shell import ZMQInteractiveShell
    from .run import CellRunner


class CellQueue:
    """Runs the cells of one shell on its Caller, one after the other, each as a task.

    All run in one context, so that a ContextVar that one cell sets is seen by the next.
    """

    def __init__(self, runner: CellRunner, caller: Caller, shell: Callable[[], ZMQInteractiveShell]) -> None:
        self._runner = runner
        self._caller = caller
        self._shell = shell
        self._waiting: deque[Request] = deque()
        self.context = contextvars.copy_context()
        #: The request of the cell that runs.
        self._running: Request | None = None
        #: Called when a cell has ended and none waits.
        self.on_empty: Callable[[], None] | None = None

    def add(self, request: Request) -> None:
        """Adds a cell."""
        self._waiting.append(request)
        # `_ended` is not called if an exception has hit it: that of a trace function or an audit hook of the user's.
        if self._running is None or self._running.has_ended:
            self._start_next()

    @property
    def is_running(self) -> bool:
        """Whether a cell runs."""
        return self._running is not None

    def _start_next(self) -> None:
        self._running = None
        while self._waiting:
            request = self._waiting.popleft()
            # False: it has been aborted and answered while it waited.
            if request.begin():
                self._running = request
                on_done = functools.partial(self._ended, request)
                try:
                    self._runner.start(self._caller, self._shell(), request, self.context, self._may_end, on_done)
                except BaseException as error:  # noqa: BLE001 - whatever it is, it ends only this cell
                    refuse(request, error)
                else:
                    return
        if self.on_empty is not None:
            self.on_empty()

    def _may_end(self, request: Request) -> None:
        """Starts the next cell in the next round of the loop. Called at the end of the task of a cell."""
        loop = self._caller.loop_thread.loop
        # A task that began now could not enter the context: this one has not left it.
        if self._waiting and loop is not None and loop.starts_tasks_later():
            self._ended(request)

    def _ended(self, request: Request) -> None:
        """Starts the next cell, when the task of this one has ended."""
        if self._running is request:
            self._start_next()
