"""A cell that runs, and its states."""

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
    """The phase of a cell. Only its own thread changes it.

    ::

        SETTING_UP ──► IN_USER_CODE ──► ANSWERING ──► ENDED
                          │    ▲
                          ▼    │
                         SHOWING
    """

    #: Its turn has come. No user code has run.
    SETTING_UP = 0
    #: Its code, or a hook of the user's, runs or awaits. Only here an interrupt raises `KeyboardInterrupt`.
    IN_USER_CODE = 1
    #: An exception is being shown. Interrupts are recorded only.
    SHOWING = 2
    #: Its code has ended and its reply is made. Interrupts are recorded only.
    ANSWERING = 3
    ENDED = 4


class Deadline(Enum):
    """The time limit of a cell (tag ``timeout``).

    ::

        AHEAD ──► PASSED ──┬──► NOTICED
                           └──► ABANDONED
    """

    #: No limit, or not reached.
    AHEAD = 0
    #: Reached: the cell is interrupted. Set by `Control`.
    PASSED = 1
    #: The cell shows its `TimeoutError`.
    NOTICED = 2
    #: `Control` has answered the cell without its thread, which goes on. Errors that it shows are dropped.
    ABANDONED = 3


# Before Python 3.12 each access to an attribute of an Enum is a Python call.
SETTING_UP, IN_USER_CODE, SHOWING, ANSWERING, ENDED = Phase
AHEAD, PASSED, NOTICED, ABANDONED = Deadline


class Cell(Call):
    """A cell that has begun and not ended.

    `CellRunner` assigns `phase` directly, which saves calls for every cell. `stop_request` says whether it is to stop.
    """

    is_cell = True
    phase = SETTING_UP
    #: Set from several threads: see `Call.stop_request`.
    deadline = AHEAD
    #: The exception that was shown instead of another one: of the `KeyboardInterrupt` for a cancellation.
    replaced: tuple[BaseException | None, BaseException | None] = None, None
    #: What it had shown last when its code had ended, if that has failed.
    ended_with: tuple[BaseException | None, dict[str, Any] | None] = None, None
    #: The content of an error that was shown while its value was displayed.
    display_error: dict[str, Any] | None = None

    def __init__(self, request: Request, shell: ZMQInteractiveShell, task: Task) -> None:
        super().__init__(task)
        self.request = request
        self.parent = request.parent()
        #: Its code.
        self.code = request.code or ""
        self.shell = shell
        #: Its number, as in ``In [5]:``.
        self.number = 0
        #: The value of ``get_ipython().execution_count`` while it runs.
        self.execution_count = 0
        #: The exception that it has shown last, and its content, for its reply.
        self.failed: BaseException | None = None
        self.error: dict[str, Any] | None = None
        #: The exception that a part of it in another task has shown, and its content.
        self.shown: tuple[BaseException | None, dict[str, Any]] = None, {}
        #: IPython's record of the code that runs, and those of the code that has called it.
        self.exec_results: tuple[Any, Any] | None = None
        #: The payload of its reply: pages, the next input.
        self.payloads: list[dict[str, Any]] = []
        self.tags = Tags.of(self.parent.metadata)

    @property
    def in_user_code(self) -> bool:
        """Whether an exception that is raised in its task now hits the user's code."""
        return self.phase is IN_USER_CODE

    def showing(self) -> _Showing:
        """Returns a context manager for showing an exception: interrupts are recorded, and not raised."""
        return _Showing(self)

    # -- its deadline -----------------------------------------------------------------------------------

    @property
    def timed_out(self) -> bool:
        """Whether its time limit is reached."""
        return self.deadline is not AHEAD

    @property
    def is_abandoned(self) -> bool:
        """Whether `Control` has answered it without its thread."""
        return self.deadline is ABANDONED

    def time_is_up(self) -> None:
        """Records that its time limit is reached. Interrupt it after that."""
        self.deadline = PASSED

    def notice_timeout(self) -> None:
        """Records that it shows its `TimeoutError`: it cannot be abandoned any more."""
        if self.deadline is PASSED:
            self.deadline = NOTICED

    def abandon(self) -> bool:
        """Records that `Control` answers it. Returns False if its thread has noticed the timeout or ended it."""
        if self.deadline is not PASSED or self.phase is ENDED:
            return False
        self.deadline = ABANDONED
        return True

    def timeout_error(self) -> TimeoutError:
        """The exception that it ends with when its time limit is reached."""
        return TimeoutError(f"the cell took longer than {self.tags.timeout:g} seconds")


class _Showing:
    # No generator of contextlib's: one that an asynchronous exception leaves open sets the phase when it is collected.

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def __enter__(self) -> None:
        self._before, self._cell.phase = self._cell.phase, SHOWING

    def __exit__(self, *_exc_info: object) -> None:
        self._cell.phase = self._before
