"""The shell as the modules of this folder see it. For type checkers only: at run time `object` takes its place, because
traitlets takes a millisecond for each of its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import InteractiveShell

if TYPE_CHECKING:
    import ast

    from IPython.core.interactiveshell import ExecutionResult
    from IPython.core.payload import PayloadManager

    from ...protocols import KernelServices


class MagicShell(InteractiveShell):
    """IPython's shell, with the methods that these modules call of each other."""

    kernel: KernelServices
    #: The function that runs code that awaits (``%autoawait``); None: the event loop that runs anyway.
    other_runner: Any
    payload_manager: PayloadManager

    def awaits(self, method: str, args: list[ast.expr]) -> bool:
        raise NotImplementedError

    def cells_given_by(self, magic: Any, line: str) -> list[str]:
        raise NotImplementedError

    async def run_cell_and_trigger(
        self, code: str, *, store_history: bool = False, silent: bool = False, cell_id: str | None = None
    ) -> ExecutionResult | None:
        raise NotImplementedError

    def run_command(self, argv: list[str], *args: Any, **kwargs: Any) -> int:
        raise NotImplementedError
