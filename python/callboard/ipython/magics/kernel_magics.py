"""Magics that a notebook needs in another form than a terminal."""

from __future__ import annotations

import contextlib
import json
import linecache
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand
from IPython.display import Javascript, display
from IPython.utils.process import arg_split  # type: ignore[attr-defined]

from ... import _core
from ...callers.caller import Caller
from ...context import get_ipython, part_of_cell

if TYPE_CHECKING:
    from ...aio.pending import Pending
    from .base import MagicShell


@magics_class
class KernelMagics(Magics):
    """Magics of the kernel."""

    shell: MagicShell

    @line_magic
    def edit(self, parameter_s: str = "", last_call: list[str] | None = None) -> None:
        """Opens a file, or the source of an object, in the frontend's editor.

        Usage: ``%edit FILE_OR_NAME``. Takes what IPython's own %edit takes; the code is not run afterwards,
        because a frontend does not tell when its editor is closed.
        """
        from IPython.core.magics.code import CodeMagics, MacroToEdit

        opts, args = self.parse_options(parameter_s, "prn:")
        try:
            filename, line, _ = CodeMagics._find_edit_target(self.shell, args, opts, last_call or ["", ""])
        except MacroToEdit:
            print("Macros cannot be edited from a notebook: print them with `print(NAME)` and define them anew.")
            return
        if filename is None:
            # IPython has warned that it finds none.
            return
        if not os.path.exists(filename) and (source := linecache.getlines(filename)):
            self._write_cell(filename, "".join(source))
        payload = {"source": "edit_magic", "filename": str(Path(filename).resolve()), "line_number": line}
        self.shell.payload_manager.write_payload(payload)

    @line_magic
    def notebook(self, line: str) -> None:
        """Exports the history of this session to a notebook, without printed text. Usage: ``%notebook FILE``."""
        from IPython.core.magics.basic import BasicMagics

        BasicMagics(self.shell).notebook(line)
        print("The notebook has no printed text, which is not kept: to have it, save the notebook in the frontend.")

    def _write_cell(self, filename: str, source: str) -> None:
        """Writes the source of a cell to the file that it is compiled as, for its owner only, until the kernel ends."""
        file = Path(filename)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(source)
        self.shell.tempfiles.append(file)
        if file.parent not in self.shell.tempdirs:
            self.shell.tempdirs.append(file.parent)

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

    @line_magic
    def callers(self, _line: str) -> None:
        """Prints a table of the Callers: the threads with an event loop."""
        all_callers = Caller.all_callers()
        callers: list[Caller] = []

        def add(caller: Caller) -> None:
            if caller not in callers:
                callers.append(caller)
                for child in all_callers:
                    if child.parent is caller:
                        add(child)

        for caller in all_callers:
            if caller.parent is None:
                add(caller)
        here = Caller.get_existing()
        names = [("Name", "Thread"), *((c.name, c.thread.name if c.thread else "") for c in callers)]
        wide, thread_wide = (max(len(name[column]) for name in names) + 2 for column in (0, 1))
        print(f"{'Name':<{wide}}{'Running':^9}{'Protected':^11}{'Thread':<{thread_wide}}Caller")
        print("\u2500" * (wide + 20 + thread_wide + 28))
        for caller in callers:
            running = "\u2713" if caller.started.done() and not caller.stopping.done() else "\u2717"
            # The lock takes the place of two characters.
            protected = " " * 4 + "\U0001f510" + " " * 5 if caller.protected else " " * 11
            thread = caller.thread.name if caller.thread else ""
            current = "  \u2190 current" if caller is here else ""
            print(f"{caller.name:<{wide}}{running:^9}{protected}{thread:<{thread_wide}}{caller.id}{current}")

    @line_magic
    def subshell(self, _line: str) -> None:
        """Prints which shell this is, and which subshells (JEP 91) there are."""
        shell = get_ipython()
        print(f"Current shell: {shell.subshell_id or 'the main shell'}")
        subshells = shell.kernel.core.subshells()
        print(f"Subshells: {len(subshells)}", *subshells, sep="\n    ")

    @line_magic
    def comms(self, line: str) -> None:
        """Sets in which thread messages of comms are handled, those of widgets too. Without a word, prints it.

        Usage: ``%comms shell`` for the main thread, after the code that runs there; ``%comms subshells`` for the thread
        of the subshell that a message names, also while a cell computes. Code of handlers must be thread-safe then.
        """
        core = self.shell.kernel.core
        if word := line.strip():
            if word not in ("shell", "subshells"):
                msg = f"%comms takes shell or subshells, not {word!r}"
                raise UsageError(msg)
            core.comms_in_subshells = word == "subshells"
        elif core.comms_in_subshells:
            print("subshells: comm messages are handled in the thread of the subshell that they name")
        else:
            print("shell: comm messages are handled in the main thread, whatever subshell they name")

    @no_var_expand
    @line_cell_magic
    async def thread(self, line: str, cell: str | None = None) -> None:
        """Runs code in another thread, and waits for it.

        Usage: ``%thread CODE`` in a worker; ``%%thread`` or ``%%thread name="My thread" backend=trio`` for a cell, in a
        worker or in the Caller with this name.
        """
        code = line if cell is None else cell
        options = _core.thread_options("" if cell is None else line)
        main = self.shell.kernel.main
        if options.get("name"):
            pen = main.get(**options).call_soon(self._run, code)
        else:
            from ...callers.workers import call_in_worker

            pen = call_in_worker(main.loop_thread, options.get("backend"), self._run, (code,), {})
        await end_of(pen)

    @no_var_expand
    @line_cell_magic
    async def asyncio(self, line: str, cell: str | None = None) -> None:
        """Runs code on asyncio, in this thread. Usage: ``%asyncio CODE``, or ``%%asyncio`` for a cell."""
        await end_of(Caller().call_using_backend("asyncio", self._run, line if cell is None else cell))

    @no_var_expand
    @line_cell_magic
    async def trio(self, line: str, cell: str | None = None) -> None:
        """Runs code on trio, in this thread. Usage: ``%trio CODE``, or ``%%trio`` for a cell."""
        await end_of(Caller().call_using_backend("trio", self._run, line if cell is None else cell))

    async def _run(self, code: str) -> None:
        """Runs code as a part of the cell; the cell fails if it does."""
        shell = get_ipython()
        part_of_cell.set(True)
        result = await shell.run_cell_async(code, store_history=False, transformed_cell=shell.transform_cell(code))
        result.raise_error()


#: How long a cell that is interrupted waits for the code that it runs elsewhere, seconds.
_GRACE = 2


async def end_of(pen: Pending[Any]) -> None:
    """Waits for code that runs elsewhere. If the cell is cancelled, that code is, and the cell ends after it."""
    try:
        await pen
    finally:
        with contextlib.suppress(TimeoutError):
            await pen.wait(timeout=_GRACE, result=False, shield=True, protect=True)
