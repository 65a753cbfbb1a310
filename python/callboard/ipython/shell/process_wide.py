"""What IPython sets for each cell, and is set here once: cells that run at the same time would take it from each
other."""

from __future__ import annotations

import builtins
import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

from IPython.core.builtin_trap import BuiltinTrap
from IPython.core.display_trap import DisplayTrap
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import MagicsManager

from ...context import current_cell, get_ipython, set_main_shell

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Protocol

    from ...protocols import ShellLike

    class MainShell(ShellLike, Protocol):
        exiter: Any


def install(shell: MainShell) -> None:
    """Makes this the main shell: ``get_ipython()`` returns it wherever no other shell's cell runs."""
    set_main_shell(shell)
    _set_builtins(shell)
    _replace_instance()
    _set_hooks()
    _load_magics_in_turn()


class PermanentBuiltins(BuiltinTrap):
    """IPython's builtins, which stay."""

    def __enter__(self) -> PermanentBuiltins:
        return self

    def __exit__(self, *_exc_info: object) -> bool:
        return False


class PermanentDisplay(DisplayTrap):
    """``sys.displayhook``, which stays."""

    def __enter__(self) -> PermanentDisplay:
        return self

    def __exit__(self, *_exc_info: object) -> bool:
        return False


def show_exception(etype: type, error: BaseException, traceback: TracebackType | None) -> None:
    """``sys.excepthook``: does in a cell what IPython's does."""
    if current_cell.get() is None:
        sys.__excepthook__(etype, error, traceback)
    else:
        get_ipython().showtraceback((etype, error, traceback), tb_offset=0)


def _set_builtins(shell: MainShell) -> None:
    for name in ("exit", "quit"):
        setattr(builtins, name, shell.exiter)
    builtins.get_ipython = get_ipython  # type: ignore[attr-defined]


def _replace_instance() -> None:
    """Lets ``InteractiveShell.instance()`` return the shell that the calling code belongs to."""
    InteractiveShell.initialized = classmethod(lambda _cls: True)  # type: ignore[method-assign, assignment]
    InteractiveShell.instance = classmethod(lambda _cls, *_a, **_k: get_ipython())  # type: ignore[method-assign, assignment]


def _set_hooks() -> None:
    sys.displayhook = lambda value: get_ipython().displayhook(value)
    sys.excepthook = show_exception


def _load_magics_in_turn() -> None:
    """Lets one thread at a time load the magics that IPython imports on first use: others would find them half done."""
    load = getattr(MagicsManager, "load_lazy", None)
    if load is None:
        return
    turn = threading.RLock()

    @functools.wraps(load)
    def load_lazy(self: MagicsManager, *args: Any) -> None:
        with turn:
            load(self, *args)

    MagicsManager.load_lazy = load_lazy  # type: ignore[method-assign]
