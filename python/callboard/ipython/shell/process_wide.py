"""What IPython sets for each cell, and is set here once: cells that run at the same time would take it from each
other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from IPython.core.builtin_trap import BuiltinTrap
from IPython.core.display_trap import DisplayTrap

from ... import patches
from ...context import current_cell, get_ipython, set_main_shell

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal, NoReturn

    from ...protocols import ShellLike


def install(shell: ShellLike) -> None:
    """Makes this the main shell: ``get_ipython()`` returns it wherever no other shell's cell runs."""
    set_main_shell(shell)
    _set_builtins()
    _replace_instance()
    _set_hooks()


class PermanentBuiltins(BuiltinTrap):
    """IPython's builtins, which stay."""

    def __enter__(self) -> PermanentBuiltins:
        return self

    def __exit__(self, *_exc_info: object) -> Literal[False]:
        return False


class PermanentDisplay(DisplayTrap):
    """``sys.displayhook``, which stays."""

    def __enter__(self) -> PermanentDisplay:
        return self

    def __exit__(self, *_exc_info: object) -> Literal[False]:
        return False


def show_exception(etype: type, error: BaseException, traceback: TracebackType | None) -> None:
    """``sys.excepthook``: does in a cell what IPython's does."""
    if current_cell.get() is None:
        sys.__excepthook__(etype, error, traceback)
    else:
        get_ipython().showtraceback((etype, error, traceback), tb_offset=0)


def _set_builtins() -> None:
    patches.put("builtins:exit", _exit)
    patches.put("builtins:quit", _exit)
    patches.put("builtins:get_ipython", get_ipython)


def _exit(code: object = None) -> NoReturn:
    """Raises ``SystemExit``, for the code of modules. (A cell finds the ``exit`` of its own namespace, which ends the
    kernel.)"""
    raise SystemExit(code)


def _replace_instance() -> None:
    """Lets ``InteractiveShell.instance()`` return the shell that the calling code belongs to."""
    patches.put("IPython.core.interactiveshell:InteractiveShell.initialized", classmethod(lambda _cls: True))
    patches.put(
        "IPython.core.interactiveshell:InteractiveShell.instance",
        classmethod(lambda _cls, *_args, **_kwargs: get_ipython()),
    )


def _set_hooks() -> None:
    patches.put("sys:displayhook", lambda value: get_ipython().displayhook(value))
    patches.put("sys:excepthook", show_exception)
