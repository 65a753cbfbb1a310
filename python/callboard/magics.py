"""Magics that a notebook needs in another form than a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magics.code import CodeMagics, MacroToEdit
from IPython.display import Javascript, display
from IPython.utils.process import arg_split  # type: ignore[attr-defined]


@magics_class
class KernelMagics(Magics):
    """Magics of the kernel."""

    @line_magic
    def edit(self, parameter_s: str = "", last_call: list[str] | None = None) -> None:
        """Opens a file, or the source of an object, in the frontend's editor.

        Usage: ``%edit FILE_OR_NAME``. Takes what IPython's own %edit takes; the code is not run afterwards,
        because a frontend does not tell when its editor is closed.
        """
        opts, args = self.parse_options(parameter_s, "prn:")
        try:
            filename, line, _ = CodeMagics._find_edit_target(self.shell, args, opts, last_call or ["", ""])
        except MacroToEdit:
            print("Macros cannot be edited from a notebook: print them with `print(NAME)` and define them anew.")
            return
        payload = {"source": "edit_magic", "filename": str(Path(filename).resolve()), "line_number": line}
        self.shell.payload_manager.write_payload(payload)

    @line_magic
    def clear(self, _line: str) -> None:
        """Clears the output of the cell."""
        from IPython.display import clear_output

        clear_output()

    @line_magic
    def less(self, line: str) -> None:
        """Shows a file in the pager. Usage: ``%less FILE``."""
        self._page_file(line)

    @line_magic
    def more(self, line: str) -> None:
        """Shows a file in the pager. Usage: ``%more FILE``."""
        self._page_file(line)

    def _page_file(self, line: str) -> None:
        from IPython.core import page
        from IPython.utils import openpy

        name = line.strip()
        if not name:
            msg = "which file? Usage: %less FILE"
            raise UsageError(msg)
        path = Path(name).expanduser()
        try:
            text = openpy.read_py_file(path, skip_encoding_cookie=False) if name.endswith(".py") else path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{name}: {error}") from error
        page.page(self.shell.pycolorize(text) if name.endswith(".py") else text)

    @line_magic
    def man(self, line: str) -> None:
        """Shows a manual page in the pager. Usage: ``%man COMMAND``."""
        from IPython.core import page

        page.page(self.shell.getoutput(f"man {line} | col -b", split=False))

    @line_magic
    def connect_info(self, _line: str) -> None:
        """Prints how another client connects to this kernel."""
        core = self.shell.kernel.core
        print(json.dumps(json.loads(core.connection), indent=2))
        print(
            "\nPaste the above JSON into a file and connect with:\n"
            "    $> jupyter <app> --existing <file>\n"
            "or, on this machine, with:\n"
            f"    $> jupyter <app> --existing {core.connection_file}"
        )

    @line_magic
    def qtconsole(self, line: str) -> None:
        """Opens a Qt console on this kernel."""
        command = "from qtconsole import qtconsoleapp; qtconsoleapp.main()"
        args = [sys.executable, "-c", command, "--existing", self.shell.kernel.core.connection_file]
        try:
            subprocess.Popen([*args, *arg_split(line, posix=True)], start_new_session=True)
        except OSError as error:
            raise UsageError(f"the Qt console cannot be started: {error}") from error

    @line_magic
    def autosave(self, line: str) -> None:
        """Sets how often the classic notebook saves, seconds; 0 switches it off. Usage: ``%autosave 60``."""
        try:
            interval = int(line)
        except ValueError as error:
            raise UsageError(f"%autosave takes a number of seconds, not {line!r}") from error
        script: Any = Javascript(f"IPython.notebook.set_autosave_interval({1000 * interval})")
        display(script, include=["application/javascript"])
        print(f"Autosaving every {interval} seconds" if interval else "Autosave disabled")
