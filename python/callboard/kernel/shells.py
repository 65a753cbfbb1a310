"""The main shell and the shells of subshells (JEP 91)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .. import _core
    from ..ipython.shell.shell import ZMQInteractiveShell


class Shells:
    """The shells by subshell id. The main shell has none."""

    def __init__(self, core: _core.Kernel, main: ZMQInteractiveShell) -> None:
        self.main = main
        self._core = core
        self._of_subshells: dict[str, ZMQInteractiveShell] = {}
        self._lock = threading.RLock()
        #: Called with each shell that is made.
        self._on_new: Callable[[ZMQInteractiveShell], None] | None = None

    def of(self, subshell_id: str | None) -> ZMQInteractiveShell:
        """Returns the shell of a subshell, and makes it if necessary; without an id the main shell."""
        if subshell_id is None:
            return self.main
        with self._lock:
            shell = self._of_subshells.get(subshell_id)
            if shell is None:
                shell = self.main.make_subshell(subshell_id, self._core.isolated_subshells)
                self._of_subshells[subshell_id] = shell
                if self._on_new is not None:
                    self._on_new(shell)
            return shell

    def all(self) -> list[ZMQInteractiveShell]:
        """The main shell and those of subshells."""
        with self._lock:
            return [self.main, *self._of_subshells.values()]

    def follow(self, func: Callable[[ZMQInteractiveShell], None] | None) -> None:
        """Calls this with each shell, also with those that are made later; None: no more."""
        with self._lock:
            self._on_new = func
            if func is not None:
                for shell in self.all():
                    func(shell)

    def prepare(self, subshell_id: str) -> None:
        """Makes the shell of a subshell, and what IPython makes with the first display."""
        self.of(subshell_id).display_formatter.format(object())

    def drop(self, subshell_id: str) -> None:
        """Closes the shell of a subshell that has ended."""
        with self._lock:
            shell = self._of_subshells.pop(subshell_id, None)
        if shell is not None:
            shell.close()
