"""The base of cells and calls: what an interrupt needs to know of them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..aio.loops.base import Task


class StopRequest(Enum):
    """Whether a cell or call is to stop. Changes only downwards in this list."""

    NONE = 0
    #: It is interrupted: `KeyboardInterrupt` is raised in its code, or when that begins.
    INTERRUPTED = 1
    #: Its task is going to be cancelled, or its `KeyboardInterrupt` was swallowed and is going to be raised again.
    CANCELLED = 2


# Before Python 3.12 each access to an attribute of an Enum is a Python call.
NO_STOP, INTERRUPTED, CANCELLED = StopRequest


class Call:
    """A cell, or a call of a Caller, that has begun and not ended."""

    is_cell = False
    #: Set from any thread and by signal handlers. A method that reads it first has no call and no loop between that and
    #: the assignment: CPython runs no signal handler and no other thread there.
    stop_request = NO_STOP

    def __init__(self, task: Task) -> None:
        self.task = task

    @property
    def in_user_code(self) -> bool:
        """Whether an exception that is raised in its task now hits the user's code."""
        return False

    @property
    def interrupted(self) -> bool:
        """Whether it was interrupted or cancelled by an interrupt."""
        return self.stop_request is not NO_STOP

    def mark_interrupted(self) -> None:
        """Records an interrupt."""
        if self.stop_request is NO_STOP:
            self.stop_request = INTERRUPTED

    def mark_swallowed(self) -> None:
        """Records that its interrupt was swallowed: it must not end as if there had been none."""
        self.stop_request = CANCELLED

    def cancel(self) -> None:
        """Cancels it as an interrupt. May be called from any thread and by a signal handler."""
        self.stop_request = CANCELLED
        self.task.cancel_soon()
