"""Shell commands of cells: ``!command`` and ``x = !command``, awaited on a thread or run at once."""

from __future__ import annotations

import os
import signal
import sys
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any

from IPython.utils.encoding import DEFAULT_ENCODING
from IPython.utils.process import system  # type: ignore[attr-defined]
from IPython.utils.text import LSString, SList

from ...processes import thread_job

if TYPE_CHECKING:
    from .base import MagicShell
else:
    MagicShell = object


class ShellCommands(MagicShell):
    """Runs shell commands."""

    def system_piped(self, cmd: str) -> None:
        """Runs a shell command, with its output in the cell. Sets ``_exit_code``."""
        _refuse_background(cmd)
        if thread_job.is_in_thread():
            self._system(self.var_expand(cmd, depth=1), cmd)
            return
        try:
            code = system(self.var_expand(cmd, depth=1))
        except UnboundLocalError as error:
            # IPython raises it when an interrupt comes while it starts the process.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        self._keep_exit_code(code, cmd)

    system = system_piped

    async def system_async(self, cmd: str) -> None:
        """Like `system`, without blocking the event loop (asyncio's or trio's). Cancelling it ends the command with all
        its processes."""
        __tracebackhide__ = True
        _refuse_background(cmd)
        await thread_job.in_thread(self._system, self.var_expand(cmd, depth=1), cmd)

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
        """Runs a shell command and returns its output, as a list of lines (or with ``split=False``, as a string)."""
        if not thread_job.is_in_thread():
            return super().getoutput(cmd, split, depth + 1)
        _refuse_background(cmd)
        return self._getoutput(self.var_expand(cmd, depth + 1), cmd, split)

    async def getoutput_async(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
        """Like `getoutput`, without blocking the event loop (asyncio's or trio's). Cancelling it ends the command with
        all its processes."""
        __tracebackhide__ = True
        _refuse_background(cmd)
        return await thread_job.in_thread(self._getoutput, self.var_expand(cmd, depth + 1), cmd, split)

    def _system(self, expanded: str, cmd: str) -> None:
        """Runs a command in a terminal, as IPython's ``system`` does."""
        __tracebackhide__ = True
        stream = sys.stdout
        code = self.run_command([_shell(), "-c", expanded], stream.write, terminal=True, encoding=DEFAULT_ENCODING)
        stream.flush()
        # The way in which a shell reports a command that a signal has ended.
        self._keep_exit_code(128 - code if code > 128 else code, cmd)

    def _getoutput(self, expanded: str, cmd: str, split: bool) -> Any:
        __tracebackhide__ = True
        out: list[str] = []
        err: list[str] | None = [] if getattr(self, "system_raise_on_error", False) else None
        code = self.run_command(
            [_shell(), "-c", expanded], out.append, err.append if err is not None else None, encoding=DEFAULT_ENCODING
        )
        self._keep_exit_code(code, cmd)
        text = "".join(out + (err or []))
        return SList(text.splitlines()) if split else LSString(text)

    def run_command(self, argv: list[str], *args: Any, **kwargs: Any) -> int:
        """Runs a program, see `callboard.processes.command.run`; sets ``_exit_code`` if it is interrupted."""
        __tracebackhide__ = True
        from ...processes import command

        try:
            return command.run(argv, *args, **kwargs)
        except KeyboardInterrupt:
            self.user_ns["_exit_code"] = -signal.SIGINT
            raise

    def _keep_exit_code(self, code: int, cmd: str) -> None:
        __tracebackhide__ = True
        self.user_ns["_exit_code"] = code
        if getattr(self, "system_raise_on_error", False) and code != 0:
            raise CalledProcessError(code, cmd)


def _shell() -> str:
    """The user's shell."""
    import shutil

    name = os.environ.get("SHELL") or "sh"
    path = shutil.which(name)
    if path is None:
        msg = f"there is no shell {name!r} to run a command with: set SHELL to the path of one"
        raise OSError(msg)
    return path


def _refuse_background(cmd: str) -> None:
    __tracebackhide__ = True
    if cmd.rstrip().endswith("&"):
        msg = "a background process has no place to print to: use %%bash --bg, or subprocess.Popen"
        raise OSError(msg)
