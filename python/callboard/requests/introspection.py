"""Completion, inspection, completeness and history requests. Answered on the thread of the Caller `Control`, also while
a cell runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.utils.tokenutil import token_at_cursor

from ..util.json import decode, encode
from ..util.switch_interval import short_switch_interval

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._core import Request
    from ..ipython.shell.shell import ZMQInteractiveShell

_TYPES = "_jupyter_types_experimental"


def handle(shell: ZMQInteractiveShell, request: Request) -> None:
    """Answers a request of one of the types in `HANDLERS`."""
    content = decode(request.content)
    with short_switch_interval():
        reply = HANDLERS[request.msg_type](shell, content)
    request.reply(encode(reply))


def complete(shell: ZMQInteractiveShell, content: dict[str, Any]) -> dict[str, Any]:
    """Completes the code at the cursor, with the type and signature of each completion."""
    # It imports jedi, which takes longer than a first cell.
    from IPython.core.completer import provisionalcompleter, rectify_completions

    code, cursor = content["code"], content.get("cursor_pos")
    if cursor is None:
        cursor = len(code)
    with provisionalcompleter():
        found = list(rectify_completions(code, shell.Completer.completions(code, cursor)))
    types = [{"start": c.start, "end": c.end, "text": c.text, "type": c.type, "signature": c.signature} for c in found]
    return {
        "status": "ok",
        "matches": [c.text for c in found],
        "cursor_start": found[0].start if found else cursor,
        "cursor_end": found[0].end if found else cursor,
        "metadata": {_TYPES: types},
    }


def inspect(shell: ZMQInteractiveShell, content: dict[str, Any]) -> dict[str, Any]:
    """Describes the object that the name at the cursor stands for."""
    code, cursor = content["code"], content.get("cursor_pos")
    name = token_at_cursor(code, len(code) if cursor is None else cursor)
    try:
        data = shell.object_inspect_mime(
            name,
            detail_level=content.get("detail_level") or 0,
            omit_sections=content.get("omit_sections") or (),
        )
    except KeyError:
        return {"status": "ok", "found": False, "data": {}, "metadata": {}}
    if not shell.enable_html_pager:
        data.pop("text/html", None)
    return {"status": "ok", "found": True, "data": data, "metadata": {}}


def is_complete(shell: ZMQInteractiveShell, content: dict[str, Any]) -> dict[str, Any]:
    """Tells whether code is complete, and how to indent the next line if it is not."""
    status, indent = shell.input_transformer_manager.check_complete(content["code"])
    reply = {"status": status}
    if status == "incomplete":
        reply["indent"] = " " * (indent or 0)
    return reply


def history(shell: ZMQInteractiveShell, content: dict[str, Any]) -> dict[str, Any]:
    """Returns earlier inputs of this and other sessions."""
    manager = shell.history_manager
    entries: Iterable[Any]
    kind = {"raw": content.get("raw", True), "output": content.get("output", False)}
    match content.get("hist_access_type"):
        case "tail":
            entries = manager.get_tail(content.get("n") or 10, include_latest=True, **kind)
        case "range":
            span = content.get("session") or 0, content.get("start") or 0, content.get("stop")
            entries = manager.get_range(*span, **kind)
        case "search":
            entries = manager.search(
                content.get("pattern") or "*", n=content.get("n"), unique=content.get("unique", False), **kind
            )
        case _:
            entries = []
    # In IPython the current session has the number 0.
    numbered = [(session or manager.session_number, line, text) for session, line, text in entries]
    return {"status": "ok", "history": numbered}


HANDLERS = {
    "complete_request": complete,
    "inspect_request": inspect,
    "is_complete_request": is_complete,
    "history_request": history,
}
