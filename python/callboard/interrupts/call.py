"""What runs, as an interrupt sees it: the base of cells and of calls."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..aio.loops.base import Task


class StopRequest(Enum):
    """Whether something that runs is to stop. It only ever goes down this list."""

    NONE = 0
    #: An interrupt is for it: its code gets a `KeyboardInterrupt`.
    INTERRUPTED = 1
    #: Its task is cancelled, or will be. Also: what an interrupt raised was swallowed, and comes again.
    CANCELLED = 2


# Attributes of an Enum take a Python call each before Python 3.12.
NO_STOP, INTERRUPTED, CANCELLED = StopRequest


class Call:
    """Something that runs: a cell, or a call of a Caller."""

    is_cell = False
    #: Set from any thread, and by signal handlers. Each method sets it without a call or a loop between the look at it
    #: and the assignment, so that CPython runs no handler and no other thread there.
    stop_request = NO_STOP

    def __init__(self, task: Task) -> None:
        self.task = task

    @property
    def in_user_code(self) -> bool:
        """Whether the user's own code has control when its task runs: an exception raised now hits that code."""
        return False

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt was for it, or asked for its cancellation."""
        return self.stop_request is not NO_STOP

    def mark_interrupted(self) -> None:
        """Notes that an interrupt is for it."""
        if self.stop_request is NO_STOP:
            self.stop_request = INTERRUPTED

    def mark_swallowed(self) -> None:
        """Notes that what an interrupt raised in it was swallowed: it must not end as if there had been none."""
        self.stop_request = CANCELLED

    def cancel(self) -> None:
        """Cancels it as an interrupt does. May be called from any thread and by a signal handler."""
        self.stop_request = CANCELLED
        self.task.cancel_soon()
