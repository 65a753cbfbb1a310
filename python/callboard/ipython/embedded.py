"""``IPython.embed()`` in a cell: a prompt in the frontend, with the variables of the calling function."""

from __future__ import annotations

import code
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

    from ..protocols import ShellLike

_LEAVE = {"exit", "quit", "exit()", "quit()"}


class Prompt(code.InteractiveConsole):
    """Asks for code and runs it, with magics, until ``exit`` or an interrupt."""

    def __init__(self, shell: ShellLike, frame: FrameType) -> None:
        is_function = frame.f_locals is not frame.f_globals
        # CPython has no way to set the variables of a running function: what is assigned stays here.
        variables = {**frame.f_globals, **frame.f_locals} if is_function else frame.f_globals
        super().__init__(variables, filename="<embedded>")
        self._shell = shell
        self.interrupt: KeyboardInterrupt | None = None

    def raw_input(self, prompt: str = "") -> str:
        try:
            line = input(prompt)
        except KeyboardInterrupt as error:
            # `interact` would ask again.
            self.interrupt = error
            raise EOFError from None
        if line.strip() in _LEAVE:
            raise EOFError
        return line

    def runsource(self, source: str, *args: Any, **kwargs: Any) -> bool:
        if self._shell.input_transformer_manager.check_complete(source)[0] == "complete":
            source = self._shell.transform_cell(source)
        return super().runsource(source, *args, **kwargs)

    def showtraceback(self) -> None:
        self._shell.showtraceback()

    def write(self, data: str) -> None:
        sys.stdout.write(data)


def embed(shell: ShellLike, frame: FrameType, header: str) -> None:
    """Asks for code and runs it with the variables of a frame."""
    prompt = Prompt(shell, frame)
    where = f"{frame.f_code.co_name}, line {frame.f_lineno}: exit leaves this prompt"
    try:
        prompt.interact(banner=f"{header}\n{where}".lstrip(), exitmsg="")
    except SystemExit:
        # Code has called sys.exit.
        return
    if prompt.interrupt is not None:
        raise prompt.interrupt
