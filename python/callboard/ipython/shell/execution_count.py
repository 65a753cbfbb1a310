"""The numbers of cells, as in ``In [5]:``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...context import current_cell

if TYPE_CHECKING:
    import threading

    from .base import ShellPart
else:
    ShellPart = object


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
