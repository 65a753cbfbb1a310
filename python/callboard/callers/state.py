"""The states of a Caller."""

from __future__ import annotations

import enum
import threading
import weakref
from typing import Any

from ..aio.pending import Pending, ProtectedPending


class State(enum.Enum):
    """Where a Caller is between its beginning and its end. It only goes forward; why it ends early is its `failure`."""

    #: Its event loop does not run yet. It takes calls, which wait.
    STARTING = "starting"
    #: Its event loop runs calls.
    RUNNING = "running"
    #: It has been asked to stop: it takes no more calls, and those that run are cancelled, or told to stop.
    STOPPING = "stopping"
    #: Its loop waits for the end of these, of its children and of its guests, and then ends.
    WINDING_DOWN = "winding down"
    #: Its loop serves it no more. `Status.stopped` is done when all that it was given is.
    STOPPED = "stopped"


#: The states that may follow each state.
_NEXT = {
    State.STARTING: {State.RUNNING, State.STOPPING, State.STOPPED},
    State.RUNNING: {State.STOPPING, State.STOPPED},
    State.STOPPING: {State.WINDING_DOWN, State.STOPPED},
    State.WINDING_DOWN: {State.STOPPED},
    State.STOPPED: set(),
}


class Status:
    """The state of a Caller, and the Pendings that tell of it. Changed from any thread."""

    def __init__(self, name: str, caller: Any) -> None:
        self.name = name
        self.state = State.STARTING
        #: Why it has ended, if it was not asked to stop.
        self.failure: str | None = None
        #: Done when it runs, when it is asked to stop, and when it has stopped.
        self.started: ProtectedPending[None] = ProtectedPending()
        self.stopping: ProtectedPending[None] = ProtectedPending()
        # With its Caller, to refuse a wait for it in the Caller's own thread, which would never end.
        self.stopped: ProtectedPending[None] = ProtectedPending(caller=weakref.proxy(caller))
        # Reentrant: a finalizer may end the Caller at any time.
        self._lock = threading.RLock()

    def _go(self, to: State) -> bool:
        """Changes the state. Returns False, and does nothing, if that is not possible from where it is."""
        with self._lock:
            if to not in _NEXT[self.state]:
                return False
            self.state = to
            return True

    def begin(self) -> None:
        """STARTING to RUNNING. The loop runs, perhaps only to stop at once; also called when it has started anew."""
        self._go(State.RUNNING)
        self.started.set_result(None)

    def stop(self) -> None:
        """STARTING or RUNNING to STOPPING."""
        self._go(State.STOPPING)
        self.stopping.set_result(None)

    def wind_down(self) -> bool:
        """STOPPING to WINDING_DOWN. Returns False if it was there already, or further."""
        return self._go(State.WINDING_DOWN)

    def end(self) -> bool:
        """Any state to STOPPED. Returns False if it was there already. What calls this ends all that is open, and then
        sets `stopped`."""
        if not self._go(State.STOPPED):
            return False
        self.stopping.set_result(None)
        self.started.cancel("it has ended before it began")
        return True

    @property
    def is_ending(self) -> bool:
        """Whether its loop winds down, or has ended."""
        return self.state in (State.WINDING_DOWN, State.STOPPED)

    def why(self) -> str:
        """Says why it ends calls: the text of their cancellation or error."""
        return f"the Caller {self.name!r} has stopped" + (f": {self.failure}" if self.failure else "")

    def fail(self, pen: Pending[Any]) -> None:
        """Ends a call that is not going to be run, or not to its end."""
        if self.failure is not None:
            pen.set_exception(RuntimeError(self.why()))
        elif not pen.cancelled():
            pen.cancel(self.why())
        # That may have asked a canceller, which does nothing any more.
        pen.set_result(None)

    def __str__(self) -> str:
        is_ending = self.state is State.WINDING_DOWN or (self.state is State.STOPPED and not self.stopped.done())
        text: str = (State.STOPPING if is_ending else self.state).value
        return text
