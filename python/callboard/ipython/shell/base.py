"""The shell as its parts see it. For type checkers only: at run time `object` takes its place, so the parts are plain
classes, for which `default` and `observe` of traitlets do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.interactiveshell import InteractiveShell

if TYPE_CHECKING:
    from IPython.core.payload import PayloadManager

    from ...protocols import KernelServices
    from ..compiler import Compiler
    from ..display import DisplayFormatter
    from ..history import History


class ShellPart(InteractiveShell):
    """IPython's shell, with the attributes that `callboard.ipython.shell.shell` sets."""

    kernel: KernelServices
    compile: Compiler
    display_formatter: DisplayFormatter
    history_manager: History
    payload_manager: PayloadManager
    #: The id of the subshell (JEP 91) that it is the shell of.
    subshell_id: str | None
    #: Whether the subshell shares its variables with the main shell.
    shares_variables: bool
    #: Whether IPython's parts of the shell have been made, and extensions are loaded.
    is_made: bool
    #: Set by the prefilter, for crash reports.
    _last_input_line: str
    #: The shell that is no subshell.
    main_shell: ShellPart
