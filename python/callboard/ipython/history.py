"""The history of inputs and outputs: opened and written in a thread, beside the cells."""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from importlib.util import find_spec
from typing import Any

import IPython.core.history as ipython_history
from traitlets import default

#: Seconds for which lines are collected before they are committed. A commit takes as long as a small cell: one for each
#: cell more than doubled the time of an empty cell.
COLLECT = 0.3


class _Unhurried(threading.Event):
    """An event whose waiter continues `COLLECT` seconds later, so that one commit serves all cells of that time."""

    def __init__(self, ending: threading.Event) -> None:
        super().__init__()
        self._ending = ending

    def set(self) -> None:
        """Sets the event. Does nothing if it is set: waking the waiter takes as long as a small cell."""
        if not self.is_set():
            super().set()

    def wait(self, timeout: float | None = None) -> bool:
        came = super().wait(timeout)
        self._ending.wait(COLLECT)
        return came


class HistorySavingThread(ipython_history.HistorySavingThread):
    """IPython's thread that writes history, with at most one commit in `COLLECT` seconds. `stop` ends it at once: the
    rest is written by `HistoryManager.end_session`."""

    def __init__(self, history_manager: ipython_history.HistoryManager) -> None:
        super().__init__(history_manager)
        self._ending = threading.Event()
        self.save_flag = _Unhurried(self._ending)

    def run(self) -> None:
        """Waits for something to write, opens the history, and writes."""
        self.save_flag.wait()
        manager: Any = self.history_manager()
        if manager is None or self._ending.is_set():
            return
        manager.open()
        if str(manager.hist_file) == ":memory:":
            # The file could not be opened. Another connection does not see a database in memory.
            manager.using_thread, manager.save_thread = False, None
            return
        del manager
        super().run()

    def stop(self) -> None:
        self._ending.set()
        super().stop()


class History(ipython_history.HistoryManager):
    """Keeps each cell at its number: cells that run at the same time need not be stored in their order.

    The database is opened, and the session gets its number, when something is read or written. IPython opens it with
    the shell: a fifteenth of the time to the first result, or seconds if another process has locked it."""

    # Nothing observes these. IPython's are traits: setting the last inputs alone took as long as compiling a cell.
    _i00 = _i = _ii = _iii = ""
    #: The event that wakes the thread. An attribute, not a property as in IPython: each cell sets the event.
    save_flag: threading.Event | None = None
    input_hist_parsed: list[str] = []
    input_hist_raw: list[str] = []
    db_input_cache: list[tuple[int, str, str]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.input_hist_parsed, self.input_hist_raw, self.db_input_cache = [""], [""], []
        self._storing = threading.Lock()
        self._opening = threading.RLock()
        self.is_open = False
        # Registers weakref's exit function before the shell registers its own, so that it is called later. It would
        # close the database while the thread opens it, which crashes.
        weakref.finalize(self, int).detach()
        super().__init__(*args, **kwargs)

    @property
    def save_thread(self) -> HistorySavingThread | None:
        """The thread that writes; None if there is none."""
        return self._save_thread

    @save_thread.setter
    def save_thread(self, thread: ipython_history.HistorySavingThread | None) -> None:
        # IPython makes a thread of its own class, sets it here, and starts the one that is here then.
        self._save_thread = None if thread is None else HistorySavingThread(self)
        self.save_flag = None if self._save_thread is None else self._save_thread.save_flag

    _save_thread: HistorySavingThread | None = None

    def open(self) -> None:
        """Opens the database and begins a session in it, the first time."""
        with self._opening:
            if self.is_open:
                return
            self.is_open = True
            try:
                import sqlite3  # noqa: F401
            except ImportError:
                self.enabled = False
            self.init_db()
            try:
                self.new_session()
            except Exception:
                self.log.exception("No session can be added to %s. History will not be saved.", self.hist_file)
                self._switch_to_memory_history()

    @default("db")
    def _default_db(self) -> Any:
        self.open()
        return self._trait_values.get("db")

    @default("session_number")
    def _default_session_number(self) -> int:
        self.open()
        number: int = self._trait_values.get("session_number", 0)
        return number

    @default("enabled")
    def _default_enabled(self) -> bool:
        # IPython imports sqlite3 to find this out.
        return find_spec("_sqlite3") is not None

    # IPython calls these two while it makes a manager.

    def init_db(self) -> None:
        """Connects to the database. Does nothing before `open`."""
        if self.is_open:
            super().init_db()
            # The shell closes it at exit, after it has written the rest. The finalizer would come before that.
            self._finalizer.atexit = False

    def new_session(self, *args: Any, **kwargs: Any) -> None:
        """Begins another session. Does nothing before `open`."""
        if self.is_open:
            super().new_session(*args, **kwargs)

    def end_session(self) -> None:
        """Writes the rest, and ends the session. Does nothing if there is nothing to write and no session."""
        # The thread may be opening it.
        with self._opening:
            if self.is_open or self.db_input_cache or self.db_output_cache:
                super().end_session()

    def close(self) -> None:
        """Stops the thread, and closes the database if it is open."""
        if self.is_open:
            super().close()
        else:
            self._stop_save_thread()

    def store_inputs(self, line_num: int, source: str, source_raw: str | None = None) -> None:
        """Stores the input of a cell."""
        with self._storing:
            lists = self.input_hist_parsed, self.input_hist_raw
            before = len(lists[0])
            super().store_inputs(line_num, source, source_raw)
            for inputs in lists:
                if len(inputs) > before and before != line_num:
                    _put(inputs, line_num, inputs.pop())


class SubshellHistory(History):
    """The history of a subshell, in memory."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # IPython's outputs are one dict for all managers.
        self.outputs = defaultdict(list)
        super().__init__(*args, **kwargs)

    def store_inputs(self, line_num: int, source: str, source_raw: str | None = None) -> None:
        """Stores the input of a cell."""
        if not self.shell.shares_variables:
            super().store_inputs(line_num, source, source_raw)
            return
        # Does not set _i, _ii and so on, which are the main shell's.
        source, raw = source.rstrip("\n"), (source if source_raw is None else source_raw).rstrip("\n")
        with self._storing:
            for inputs, text in ((self.input_hist_parsed, source), (self.input_hist_raw, raw)):
                _put(inputs, line_num, text)
        with self.db_input_cache_lock:
            self.db_input_cache.append((line_num, source, raw))


def _put(inputs: list[str], number: int, text: str) -> None:
    inputs.extend("" for _ in range(number + 1 - len(inputs)))
    inputs[number] = text
