"""The shell as its parts see it. For type checkers only: at run time `object` takes its place, so the parts are plain
classes, for which `default` and `observe` of traitlets do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.interactiveshell import InteractiveShell

if TYPE_CHECKING:
    from ...protocols import KernelServices


class ShellPart(InteractiveShell):
    """IPython's shell, with the attributes that `callboard.ipython.shell.shell` sets."""

    kernel: KernelServices
    #: The id of the subshell (JEP 91) that it is the shell of.
    subshell_id: str | None
    #: Whether the subshell shares its variables with the main shell.
    shares_variables: bool
    #: Whether IPython's parts of the shell have been made, and extensions are loaded.
    is_made: bool
    #: The shell that is no subshell.
    main_shell: ShellPart
