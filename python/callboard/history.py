"""History that is written beside the cells and not between them."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import IPython.core.history as ipython_history

#: How long lines are collected before they are committed, seconds. A commit takes as long as a small cell:
#: one for each cell more than doubled the time of an empty one.
COLLECT = 0.3


class _Unhurried(threading.Event):
    """An event whose waiter comes a little later, so that one commit serves all cells of that time."""

    def __init__(self, ending: threading.Event) -> None:
        super().__init__()
        self._ending = ending

    def set(self) -> None:
        """Waking the waiter takes as long as a small cell."""
        if not self.is_set():
            super().set()

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


class History(ipython_history.HistoryManager):
    """Keeps each cell at its number: cells that run at the same time need not be stored in their order."""

    # The last inputs, which nobody observes. IPython's are traits: setting these four took as long as compiling a cell.
    _i00 = _i = _ii = _iii = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._storing = threading.Lock()
        super().__init__(*args, **kwargs)

    def store_inputs(self, line_num: int, source: str, source_raw: str | None = None) -> None:
        """Takes note of a cell."""
        with self._storing:
            lists = self.input_hist_parsed, self.input_hist_raw
            before = len(lists[0])
            super().store_inputs(line_num, source, source_raw)
            for inputs in lists:
                if len(inputs) > before and before != line_num:
                    _put(inputs, line_num, inputs.pop())


class SubshellHistory(History):
    """The history of a subshell, which is not kept when that ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # IPython's is one for all managers.
        self.outputs = defaultdict(list)
        super().__init__(*args, **kwargs)

    def store_inputs(self, line_num: int, source: str, source_raw: str | None = None) -> None:
        """Takes note of a cell."""
        if not self.shell.shares_variables:
            super().store_inputs(line_num, source, source_raw)
            return
        # The variables _i, _ii and so on are the main shell's.
        source, raw = source.rstrip("\n"), (source if source_raw is None else source_raw).rstrip("\n")
        with self._storing:
            for inputs, text in ((self.input_hist_parsed, source), (self.input_hist_raw, raw)):
                _put(inputs, line_num, text)
        with self.db_input_cache_lock:
            self.db_input_cache.append((line_num, source, raw))


def _put(inputs: list[str], number: int, text: str) -> None:
    inputs.extend("" for _ in range(number + 1 - len(inputs)))
    inputs[number] = text


def install() -> None:
    """Lets every `HistoryManager` made from now on save this way."""
    ipython_history.HistorySavingThread = HistorySavingThread  # type: ignore[misc]
