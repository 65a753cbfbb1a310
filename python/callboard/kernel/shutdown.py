"""The end of the kernel, on the main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..requests import comms

if TYPE_CHECKING:
    from comm.base_comm import CommManager

    from ..callers.caller import Caller
    from ..cells.queue import CellQueue

#: How long the end of the kernel waits for the threads of its Callers, seconds.
_GRACE = 2.0


class Shutdown:
    """Ends what runs in Python once the kernel has been asked to shut down."""

    def __init__(self, main: Caller, queue: CellQueue, comm_manager: CommManager) -> None:
        self._main = main
        self._queue = queue
        self._comm_manager = comm_manager

    def begin_soon(self) -> None:
        """Ends the kernel when the cell that runs has been answered. From any thread."""
        self._main.call_direct(self.begin)

    def begin(self) -> None:
        """Interrupts what runs; when the cell of the main shell has ended, ends the rest. On the main thread."""
        for caller in self._main.children:
            caller.interrupt(caller.running_cells())
        running = self._main.running_cells()
        if self._queue.is_running:
            self._queue.on_empty = self._leave
            for cell in running:
                cell.cancel()
        else:
            self._leave()

    def _leave(self) -> None:
        comms.close_all(self._comm_manager)
        self._main.grace = _GRACE
        self._main.stop(force=True)
        self._main.on_stop = lambda: None
        self._main._wind_down_soon()
