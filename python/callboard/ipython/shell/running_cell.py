"""What a shell answers for the cell that runs: its request, its number, its payloads. Several cells may run at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from IPython.core.payload import PayloadManager

from ...context import Parent, current_cell, current_parent
from ...util.json import encode

if TYPE_CHECKING:
    import threading
    from contextvars import Token

    from .base import ShellPart
else:
    ShellPart = object

#: The latest messages that were given to `set_parent`, for `get_parent`.
_given_parents: dict[Parent, dict[str, Any]] = {}
_KEPT_PARENTS = 100


class RequestParent(ShellPart):
    """Tells and sets which request the output of the calling code belongs to."""

    #: The request that began last, in any thread.
    _foreground: Parent | None = None

    @property
    def parent_request(self) -> Parent | None:
        """The request that the calling code runs for; where that is not known, the one that began last."""
        parent = current_parent.get(None)
        return self._foreground if parent is None or parent.is_over else parent

    @property
    def parent_header(self) -> dict[str, Any]:
        """The request that the calling code runs for, as a message dict."""
        parent = self.parent_request
        if parent is None:
            return {}
        return _given_parents.get(parent) or parent.message

    @parent_header.setter
    def parent_header(self, parent: dict[str, Any]) -> None:
        self.set_parent(parent)

    def get_parent(self) -> dict[str, Any]:
        """The request that the calling code runs for, as a message dict."""
        return self.parent_header

    def set_parent(self, parent: dict[str, Any]) -> None:
        """Lets output of the calling context belong to this request (a message dict) from now on."""
        self._foreground = self._as_parent(parent)
        current_parent.set(self._foreground)

    def set_thread_parent(self, parent: dict[str, Any]) -> Token[Parent | None]:
        """Like `set_parent`, for the calling thread only. Returns the token for `reset_thread_parent`."""
        return current_parent.set(self._as_parent(parent))

    def reset_thread_parent(self, token: Token[Parent | None]) -> None:
        """Undoes the `set_thread_parent` that returned the token."""
        current_parent.reset(token)

    def _as_parent(self, message: dict[str, Any]) -> Parent:
        """The `Parent` of a message dict, which may be a header alone."""
        like = self.parent_request
        for known in (like, self._foreground):
            if known is not None and known.message is message:
                return known
        header = message.get("header", message)
        header = json.loads(json.dumps(header, default=str))
        for name in ("msg_id", "msg_type"):
            header.setdefault(name, "")
        parent = Parent(encode(header), encode(message.get("metadata", {})), like)
        if "header" in message:
            _given_parents[parent] = message
            while len(_given_parents) > _KEPT_PARENTS:
                _given_parents.pop(next(iter(_given_parents)), None)
        return parent


class ExecutionCount(ShellPart):
    """Numbers the cells of a shell, which may run at the same time."""

    _next_number = 1
    _numbers_lock: threading.Lock

    @property
    def execution_count(self) -> int:
        """In a cell its number, else the number of the next cell."""
        this: object = self
        cell = current_cell.get()
        if cell is not None and cell.shell is this and cell.execution_count:
            return cell.execution_count
        return self._next_number

    @execution_count.setter
    def execution_count(self, number: int) -> None:
        this: object = self
        cell = current_cell.get()
        if cell is None or cell.shell is not this:
            self._next_number = number
            return
        with self._numbers_lock:
            if number != cell.execution_count + 1:
                # User code has set it.
                self._next_number = number
            elif cell.execution_count != cell.number:
                # IPython counts a cell that this cell runs. (It counts this cell too, which `begin_cell` has done.)
                self._next_number = max(self._next_number, number)
            cell.execution_count = number


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
    """Sends what goes to the frontend with the reply of a cell: pages, the next input, the end of the kernel."""

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
        """Ends the kernel, for ``exit`` and ``quit``; in a startup file only that file."""
        if not self.kernel.is_serving:
            raise SystemExit
        self.exit_now = not self.keepkernel_on_exit
        self.payload_manager.write_payload({"source": "ask_exit", "keepkernel": self.keepkernel_on_exit})
