"""The shell as its parts see it: IPython's shell, with the attributes that `callboard.ipython.shell.shell` sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ...protocols import KernelServices

    class ShellPart(InteractiveShell):
        """The base of a part. At run time it is a plain class, for which `default` and `observe` do nothing."""

        kernel: KernelServices
        #: The id of the subshell (JEP 91) that it is the shell of.
        subshell_id: str | None
        #: Whether the subshell shares its variables with the main shell.
        shares_variables: bool
        #: Whether IPython's parts of the shell have been made, and extensions are loaded.
        is_made: bool
        #: The shell that is no subshell.
        main_shell: ShellPart

else:
    ShellPart = object
