"""The history of inputs and outputs: opened and written in a thread, beside the cells."""

from __future__ import annotations

import threading
import time
import weakref
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import IPython.core.history as ipython_history
from traitlets import default

#: Seconds for which lines are collected before they are committed. A commit takes as long as a small cell: one for each
#: cell more than doubled the time of an empty cell.
COLLECT = 0.3


#: Seconds for which a statement waits while another process has locked the file. Cells and clients wait as long.
PATIENCE = 1.0

#: Seconds after which a locked file is tried again. Until then the history is that of this session.
RETRY = 2.0


class HistoryLockedError(Exception):
    """Another process has locked the history file."""


def _is_locked(error: Exception) -> bool:
    """Whether an error of sqlite3 says that the file is locked: it is in order, and will be free again."""
    # SQLITE_BUSY, SQLITE_LOCKED.
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in (5, 6)


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
        while manager is not None and not self._ending.is_set():
            try:
                manager.open()
                break
            except HistoryLockedError:
                self._ending.wait(RETRY)
        if manager is None or self._ending.is_set():
            return
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
    #: When a locked file is tried again, by `time.monotonic`; 0: it is not locked.
    _locked_until = 0.0
    _session_number = 0
    _db: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.input_hist_parsed, self.input_hist_raw, self.db_input_cache = [""], [""], []
        self._storing = threading.Lock()
        self._opening, self._writing = threading.RLock(), threading.RLock()
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
        """Opens the database and begins a session, the first time. Raises `HistoryLockedError` if it is locked."""
        with self._opening:
            if self.is_open:
                return
            self.is_open = True
            try:
                import sqlite3  # noqa: F401
            except ImportError:
                self.enabled = False
            self.connection_options = {"timeout": PATIENCE, **self.connection_options}
            if self.hist_file != ":memory:":
                # IPython moves a damaged file aside only if this is no string.
                self.hist_file = Path(self.hist_file)
            try:
                self.init_db()
                self.new_session()
            except Exception as error:
                if _is_locked(error):
                    self._close_again()
                    raise self._locked() from error
                self.log.exception("No session can be added to %s. History will not be saved.", self.hist_file)
                self._switch_to_memory_history()

    def _close_again(self) -> None:
        self.is_open = False
        self._finalizer.detach()
        self._db.close()

    def _locked(self) -> HistoryLockedError:
        """Records that the file is locked; tells it once."""
        if not self._locked_until:
            self.log.warning("%s is locked by another process: history is written when it is free", self.hist_file)
        self._locked_until = time.monotonic() + RETRY
        return HistoryLockedError(str(self.hist_file))

    @property
    def is_locked(self) -> bool:
        """Whether the file was locked a moment ago."""
        return time.monotonic() < self._locked_until

    @property
    def db(self) -> Any:
        """The connection to the database, which is opened if necessary."""
        # Another thread may be opening it. If that fails, it closes the connection.
        with self._opening:
            if not self.is_open:
                if self.is_locked:
                    raise HistoryLockedError(str(self.hist_file))
                self.open()
            return self._db

    @db.setter
    def db(self, connection: Any) -> None:
        self._db = connection

    @property
    def session_number(self) -> int:
        """The number of the session in the database; 0 while that is locked."""
        if not self.is_open:
            try:
                self.db  # noqa: B018 - opening it is the point
            except HistoryLockedError:
                return 0
        return self._session_number

    @session_number.setter
    def session_number(self, number: int) -> None:
        self._session_number = number

    @default("enabled")
    def _default_enabled(self) -> bool:
        # IPython imports sqlite3 to find this out.
        return find_spec("_sqlite3") is not None

    # IPython calls these two while it makes a manager.

    def init_db(self) -> None:
        """Connects to the database. Does nothing before `open`."""
        if not self.is_open:
            return
        connect: Any = super().init_db
        try:
            # Without IPython's decorator, which takes a file that is locked for a damaged one, and moves it aside.
            connect.__wrapped__(self)
        except Exception as error:
            if _is_locked(error):
                raise
            connect()
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
            if not (self.is_open or self.db_input_cache or self.db_output_cache):
                return
            try:
                self._locked_until = 0.0
                self.open()
                self._write(self.db)
                super().end_session()
            except Exception as error:
                if not isinstance(error, HistoryLockedError) and not _is_locked(error):
                    raise
                self.log.error("%s is still locked: the last inputs are not in the history", self.hist_file)

    def close(self) -> None:
        """Stops the thread, and closes the database if it is open."""
        if self.is_open:
            super().close()
        else:
            self._stop_save_thread()

    # -- reading and writing: IPython takes a locked file for a damaged one, and drops what it could not write ------

    def writeout_cache(self, conn: Any = None) -> None:
        """Writes what is collected; keeps it while the file is locked."""
        if not self.enabled or self.is_locked:
            return
        try:
            self._write(self.db if conn is None else conn)
        except Exception as error:
            if not isinstance(error, HistoryLockedError) and not _is_locked(error):
                raise
            self._locked()
            if self.save_flag is not None:
                # The thread tries again.
                self.save_flag.set()

    def _write(self, conn: Any) -> None:
        """Writes what is collected; keeps it if that fails."""
        # Cells wait for the locks of the caches: these are not held while the database is written.
        with self._writing:
            with self.db_input_cache_lock:
                inputs, self.db_input_cache = self.db_input_cache, []
            with self.db_output_cache_lock:
                outputs, self.db_output_cache = self.db_output_cache, []
            try:
                self._insert(conn, "history VALUES (?, ?, ?, ?)", inputs)
                inputs = []
                self._insert(conn, "output_history VALUES (?, ?, ?)", outputs)
                outputs = []
            finally:
                with self.db_input_cache_lock:
                    self.db_input_cache[:0] = inputs
                with self.db_output_cache_lock:
                    self.db_output_cache[:0] = outputs
            self._locked_until = 0.0

    def _insert(self, conn: Any, into: str, rows: list[Any]) -> None:
        if not rows:
            return
        import sqlite3

        for _ in range(2):
            try:
                with conn:
                    conn.executemany(f"INSERT INTO {into}", [(self.session_number, *row) for row in rows])
            except sqlite3.IntegrityError:
                # Code has set the numbers of cells back: the rest is in a session of its own, as in IPython.
                self.new_session(conn)
            else:
                return
        self.log.error("%d inputs or outputs have numbers that others have, and are not in the history", len(rows))

    def _run_sql(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Returns rows of the database; none while it is locked."""
        if self.is_locked:
            return []
        try:
            return list(super()._run_sql(*args, **kwargs))
        except Exception as error:
            if not isinstance(error, HistoryLockedError):
                if not _is_locked(error):
                    raise
                self._locked()
            return []

    def get_tail(
        self, n: int | None = 10, raw: bool = True, output: bool = False, include_latest: bool = False
    ) -> list[Any]:
        """Returns the last inputs; while the database is locked those of this session."""
        found = list(super().get_tail(n, raw, output, include_latest))
        if found or not self.is_locked:
            return found
        here = list(self.get_range(0, raw=raw, output=output))
        return here[: None if include_latest else -1][-(n or 10) :]

    def get_session_info(self, session: int = 0) -> Any:
        """Describes a session. Raises `HistoryLockedError` while the database is locked."""
        if not self._run_sql("LIMIT 1", ()) and self.is_locked:
            raise HistoryLockedError(f"{self.hist_file} is locked by another process: try again later")
        return super().get_session_info(session)

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
