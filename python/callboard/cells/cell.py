"""A cell that runs, and the states that it goes through."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from ..interrupts.call import Call
from .tags import Tags

if TYPE_CHECKING:
    from .._core import Request
    from ..aio.loops.base import Task
    from ..ipython.shell.shell import ZMQInteractiveShell


class Phase(Enum):
    """Where a cell is. Changed by its own thread only.

    ::

        SETTING_UP ──► IN_USER_CODE ──► ANSWERING ──► ENDED
                          │    ▲
                          ▼    │
                         SHOWING
    """

    #: It has its turn. No code of the user's has run.
    SETTING_UP = 0
    #: Its code runs or awaits, or a hook of the user's does. Only here an interrupt raises `KeyboardInterrupt` in it.
    IN_USER_CODE = 1
    #: An exception is being shown. Interrupts are noted.
    SHOWING = 2
    #: Its code has ended, its reply is made. Interrupts are noted.
    ANSWERING = 3
    ENDED = 4


class Deadline(Enum):
    """What has come of the time that a cell has (tag ``timeout``).

    ::

        AHEAD ──► PASSED ──┬──► NOTICED
                           └──► ABANDONED
    """

    #: There is none, or it has not passed.
    AHEAD = 0
    #: It has passed; the cell is interrupted. Set by `Control`.
    PASSED = 1
    #: The cell shows its `TimeoutError`.
    NOTICED = 2
    #: `Control` has answered it without its thread, which goes on. What the cell shows from now on is dropped.
    ABANDONED = 3


# Attributes of an Enum take a Python call each before Python 3.12.
SETTING_UP, IN_USER_CODE, SHOWING, ANSWERING, ENDED = Phase
AHEAD, PASSED, NOTICED, ABANDONED = Deadline


class Cell(Call):
    """A cell that has begun and not ended.

    `CellRunner` sets `phase` itself: that is done for every cell, and costs no call. Why it is to stop is in
    `stop_request`.
    """

    is_cell = True
    phase = SETTING_UP
    #: Changed as `stop_request` is: what is looked at and set takes no call and no loop.
    deadline = AHEAD

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

    @property
    def in_user_code(self) -> bool:
        """Whether an exception that is raised now hits the user's code."""
        return self.phase is IN_USER_CODE

    def showing(self) -> _Showing:
        """A context in which an exception is shown: interrupts that come meanwhile are noted, and not raised there."""
        return _Showing(self)

    # -- its deadline -----------------------------------------------------------------------------------

    @property
    def timed_out(self) -> bool:
        """Whether its deadline has passed."""
        return self.deadline is not AHEAD

    @property
    def is_abandoned(self) -> bool:
        """Whether it was answered without its thread."""
        return self.deadline is ABANDONED

    def time_is_up(self) -> None:
        """Lets its deadline pass. Interrupt it after that."""
        self.deadline = PASSED

    def notice_timeout(self) -> None:
        """Notes that it shows its `TimeoutError`: it is not abandoned any more."""
        if self.deadline is PASSED:
            self.deadline = NOTICED

    def abandon(self) -> bool:
        """Takes it away from its thread. False if that has noticed the timeout, or has ended the cell."""
        if self.deadline is not PASSED or self.phase is ENDED:
            return False
        self.deadline = ABANDONED
        return True

    def timeout_error(self) -> TimeoutError:
        """What it ends with if it takes too long."""
        return TimeoutError(f"the cell took longer than {self.tags.timeout:g} seconds")


class _Showing:
    # Not contextlib's: a generator that an exception has left open would set the phase late, when it is collected.

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def __enter__(self) -> None:
        self._before, self._cell.phase = self._cell.phase, SHOWING

    def __exit__(self, *_exc_info: object) -> None:
        self._cell.phase = self._before
