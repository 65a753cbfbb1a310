"""A cell that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..callers.caller import Call
from .tags import Tags

if TYPE_CHECKING:
    from .._core import Request
    from ..aio.loops.base import Task
    from ..ipython.shell.shell import ZMQInteractiveShell


class Cell(Call):
    """A cell that has begun and not ended."""

    is_cell = True

    def __init__(self, request: Request, shell: ZMQInteractiveShell, task: Task) -> None:
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

    def timeout_error(self) -> TimeoutError:
        """What it ends with if it takes too long."""
        return TimeoutError(f"the cell took longer than {self.tags.timeout:g} seconds")
