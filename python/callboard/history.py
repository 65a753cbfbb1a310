"""History that is written beside the cells and not between them."""

from __future__ import annotations

import threading

import IPython.core.history as ipython_history

#: How long lines are collected before they are committed, seconds. A commit takes as long as a small cell:
#: one for each cell more than doubled the time of an empty one.
COLLECT = 0.3


class _Unhurried(threading.Event):
    """An event whose waiter comes a little later, so that one commit serves all cells of that time."""

    def __init__(self, ending: threading.Event) -> None:
        super().__init__()
        self._ending = ending

    def wait(self, timeout: float | None = None) -> bool:
        came = super().wait(timeout)
        self._ending.wait(COLLECT)
        return came


class HistorySavingThread(ipython_history.HistorySavingThread):
    """IPython's thread that writes history, which commits at most once every `COLLECT` seconds. It ends at
    once when it is asked to; what is not written then is written by ``end_session``."""

    def __init__(self, history_manager: ipython_history.HistoryManager) -> None:
        super().__init__(history_manager)
        self._ending = threading.Event()
        self.save_flag = _Unhurried(self._ending)

    def stop(self) -> None:
        self._ending.set()
        super().stop()


def install() -> None:
    """Lets every `HistoryManager` made from now on save this way."""
    ipython_history.HistorySavingThread = HistorySavingThread  # type: ignore[misc]
