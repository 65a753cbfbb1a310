"""Ends the Python side of the kernel."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from .._core import end_group
from ..requests import comms

if TYPE_CHECKING:
    from ..callers.caller import Caller
    from ..cells.queue import CellQueue
    from ..requests.comms import CommManager

#: How long the kernel waits for the threads of its Callers when it ends, seconds.
_GRACE = 2.0

#: When the processes that cells have left running are ended, if the kernel still waits then, seconds after its last
#: cell: a thread may wait for one, as that of a busy process pool does.
_PATIENCE = 0.2


class Shutdown:
    """Interrupts the cells, closes the comms and stops the Callers when the kernel shuts down."""

    def __init__(self, main: Caller, queue: CellQueue, comm_manager: CommManager) -> None:
        self._main = main
        self._queue = queue
        self._comm_manager = comm_manager

    def begin(self) -> None:
        """Interrupts all cells. Ends the rest when the cell of the main shell has ended. Call it on the main thread."""
        for caller in self._main.children:
            calls = caller.loop_thread.calls
            calls.interrupt(calls.cells())
        running = self._main.loop_thread.calls.cells()
        if self._queue.is_running:
            self._queue.on_empty = self._leave
            for cell in running:
                cell.cancel()
        else:
            self._leave()

    def _leave(self) -> None:
        comms.close_all(self._comm_manager)
        threading.Thread(target=_end_processes, name="End of processes", daemon=True).start()
        main = self._main.loop_thread
        main.grace = _GRACE
        main.stop()
        main.on_stop = lambda: None
        main.wind_down_soon()


def _end_processes() -> None:
    time.sleep(_PATIENCE)
    end_group()
