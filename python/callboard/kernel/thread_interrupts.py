"""Interrupts cells and comm handlers that run in other threads than the main one."""

from __future__ import annotations

from ..callers.caller import Caller
from ..callers.calls import UNINTERRUPTIBLE_CODE


class ThreadInterrupts:
    """Makes the thread `Control` interrupt cells of other threads: a thread cannot interrupt itself, and a signal
    handler must not take the locks that this needs."""

    def __init__(self, main: Caller, control: Caller) -> None:
        self._main = main
        self._control = control

    def interrupt_all(self) -> None:
        """Interrupts the cells and comm handlers that run in other threads now, and no later ones."""
        for caller in Caller.all_callers():
            if caller is not self._main and caller is not self._control:
                calls = caller.loop_thread.calls
                if cells := calls.cells():
                    self._control.call_direct(calls.interrupt, cells)
                if calls.handler is not None:
                    self._control.call_direct(calls.handler.throw, KeyboardInterrupt, UNINTERRUPTIBLE_CODE)

    def interrupt_again(self) -> bool:
        """Interrupts the interrupted cells of the calling thread again, soon: the code that it runs now would swallow
        it. Returns False if there are none."""
        caller = Caller.get_existing()
        if caller is None:
            return False
        calls = caller.loop_thread.calls
        cells = [cell for cell in calls.cells() if cell.interrupted]
        if cells:
            self._control.call_later(0.005, calls.interrupt, cells)
        return bool(cells)
