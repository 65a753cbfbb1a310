"""What goes to the frontend with the reply of a cell: pages, the next input, the end of the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.payload import PayloadManager

from ...context import current_cell

if TYPE_CHECKING:
    from .base import ShellPart
else:
    ShellPart = object


class CellPayloads(PayloadManager):
    """Keeps payloads with the cell that runs, not in the shell: several cells may run at the same time."""

    @property
    def _payload(self) -> list[dict[str, Any]]:
        cell = current_cell.get()
        return cell.payloads if cell is not None else []

    @_payload.setter
    def _payload(self, payloads: list[dict[str, Any]]) -> None:
        if (cell := current_cell.get()) is not None:
            cell.payloads = payloads


class Payloads(ShellPart):
    """Sends payloads."""

    keepkernel_on_exit: bool | None = None

    def init_payload(self) -> None:
        self.payload_manager = CellPayloads(parent=self)

    def payloadpage_page(
        self, strg: str | dict[str, Any], start: int = 0, screen_lines: int = 0, pager_cmd: Any = None
    ) -> None:
        """Shows text in the frontend's pager."""
        data = strg if isinstance(strg, dict) else {"text/plain": strg}
        self.payload_manager.write_payload({"source": "page", "data": data, "start": max(0, start)})

    def set_next_input(self, text: str, replace: bool = False) -> None:
        """Puts text into the frontend's next (or with `replace`, this) cell."""
        self.payload_manager.write_payload({"source": "set_next_input", "text": text, "replace": replace})

    def ask_exit(self) -> None:
        """Ends the kernel, for ``exit`` and ``quit``."""
        self.exit_now = not self.keepkernel_on_exit
        self.payload_manager.write_payload({"source": "ask_exit", "keepkernel": self.keepkernel_on_exit})
