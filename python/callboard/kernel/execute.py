"""``Kernel.do_execute``: runs the code of a cell."""

from __future__ import annotations

from typing import Any

from ..cells.run import show
from ..context import current_cell


async def do_execute(
    _self: object,
    code: str,
    silent: bool,
    store_history: bool = True,
    user_expressions: dict[str, str] | None = None,
    *,
    cell_meta: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Runs code as the current cell. Returns the content of the reply."""
    cell = current_cell.get()
    assert cell is not None
    shell = cell.shell
    result = await shell.run_cell_and_trigger(
        code, store_history=store_history, silent=silent, cell_id=(cell_meta or {}).get("cellId")
    )
    reply: dict[str, Any] = {"execution_count": cell.number}
    error = result.error_before_exec or result.error_in_exec
    has_failed = error is not None or cell.error is not None
    if cell.tags.raises_exception and not has_failed:
        error = RuntimeError("this cell has the tag raises-exception, but it raised none")
        has_failed = True
    if not has_failed or cell.tags.suppress_error:
        if has_failed and cell.error is None and error is not None:
            shell.show_plainly(error)
        reply["status"] = "ok"
        reply["user_expressions"] = shell.user_expressions(user_expressions or {})
    else:
        # IPython has shown the error, unless formatting it failed or was interrupted.
        shown = cell.error or show(cell, error)
        reply.update(status="error", user_expressions={}, **shown)
    reply["payload"] = cell.payloads
    return reply
