"""``input()`` and ``getpass()``, which ask in the frontend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import StdinNotImplementedError

from .. import patches
from ..interrupts.traceback_cutoff import ends_tracebacks

if TYPE_CHECKING:
    from .._core import Kernel
    from ..protocols import ShellLike

_EOF = "\x04"


def install(core: Kernel, shell: ShellLike) -> None:
    """Makes ``input`` and ``getpass`` ask the client whose request the calling code runs for, unless a library has
    replaced ``kernel.raw_input`` or ``kernel.getpass``: then they call that."""

    @ends_tracebacks
    def input(prompt: Any = "", /) -> str:
        """Asks for a line in the frontend."""
        instead = vars(shell.kernel).get("raw_input")
        return ask(core, shell, prompt, password=False) if instead is None else instead(prompt)

    @ends_tracebacks
    def getpass_(prompt: str = "Password: ", stream: Any = None, *, echo_char: str | None = None) -> str:
        """Asks for a line in the frontend, which hides it."""
        instead = vars(shell.kernel).get("getpass")
        return ask(core, shell, prompt, password=True) if instead is None else instead(prompt)

    patches.put("builtins:input", input)
    patches.put("getpass:getpass", getpass_)


@ends_tracebacks
def ask(core: Kernel, shell: ShellLike, prompt: Any, password: bool) -> str:
    """Asks the client whose request the calling code runs for. Raises `StdinNotImplementedError` if that takes none."""
    parent = shell.parent_request
    if parent is None or not parent.allow_stdin:
        msg = (
            f"{'getpass' if password else 'input'}() was called, but the frontend does not take input "
            "here: run the cell in a frontend that does"
        )
        raise StdinNotImplementedError(msg)
    answer = core.input(str(prompt), password=password, parent=parent)
    if answer == _EOF:
        raise EOFError
    return answer
