"""Ends cells that take longer than their tag ``timeout`` allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..util.json import encode

if TYPE_CHECKING:
    from .. import _core
    from ..aio.pending import Pending
    from ..callers.caller import Caller
    from ..interrupts.handler import Interrupts
    from .cell import Cell

#: How long a thread may ignore a timeout before its cell is answered without it, seconds.
_STUBBORN = 1.0


class Timeouts:
    """The timers of cells. They run on the thread of `Control`, which no cell blocks."""

    def __init__(self, core: _core.Kernel, main: Caller, control: Caller, interrupts: Interrupts) -> None:
        self._core = core
        self._main = main
        self._control = control
        self._interrupts = interrupts

    def start(self, cell: Cell, caller: Caller, seconds: float) -> Pending[None]:
        """Ends a cell with a `TimeoutError` after this time. Cancel the returned timer when the cell has ended."""
        return self._control.call_later(seconds, self._time_is_up, cell, caller)

    def _time_is_up(self, cell: Cell, caller: Caller) -> None:
        cell.time_is_up()
        if caller is self._main:
            self._interrupts.interrupt_only(cell)
        elif caller is self._control:
            cell.cancel()
        else:
            caller.loop_thread.calls.interrupt([cell])
            self._control.call_later(_STUBBORN, self._give_up, cell)

    def _give_up(self, cell: Cell) -> None:
        """Answers a timed-out cell whose thread is in code that cannot be interrupted."""
        if not cell.abandon():
            return
        reply: dict[str, Any] = {"execution_count": cell.number, "user_expressions": {}, "payload": []}
        if cell.tags.suppress_error:
            reply["status"] = "ok"
        else:
            text = f"{cell.timeout_error()}. Its thread goes on: what it does cannot be interrupted"
            content = {"ename": "TimeoutError", "evalue": text, "traceback": [f"TimeoutError: {text}"]}
            self._core.publish("error", encode(content), parent=cell.parent)
            reply.update(status="error", **content)
        cell.request.reply(encode(reply))
        cell.request.finish(cell.tags.suppress_error, False)
