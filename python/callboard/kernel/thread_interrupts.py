"""Interrupts cells and comm handlers that run in other threads than the main one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..callers.caller import Caller
from ..callers.calls import UNINTERRUPTIBLE_CODE

if TYPE_CHECKING:
    from ..protocols import CellLike


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
                self._interrupt_soon(caller, calls.cells())
                if calls.handler is not None:
                    self._control.call_direct(calls.handler.throw, KeyboardInterrupt, UNINTERRUPTIBLE_CODE)

    def interrupt_again(self) -> bool:
        """Interrupts the interrupted cells of the calling thread again. Returns False if there are none."""
        caller = Caller.get_existing()
        return caller is not None and self._interrupt_soon(
            caller, [cell for cell in caller.loop_thread.calls.cells() if cell.interrupted]
        )

    def _interrupt_soon(self, caller: Caller, cells: list[CellLike]) -> bool:
        if cells:
            self._control.call_direct(caller.loop_thread.calls.interrupt, cells)
        return bool(cells)
