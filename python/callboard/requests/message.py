"""A request as the nested dicts that ``jupyter_client`` makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..util.json import decode

if TYPE_CHECKING:
    from .._core import Request


def message_of(request: Request) -> dict[str, Any]:
    """A request as a message dict, with its buffers as memory views."""
    return {
        "header": decode(request.header),
        "msg_id": request.msg_id,
        "msg_type": request.msg_type,
        "parent_header": decode(request.parent_header),
        "metadata": decode(request.metadata),
        "content": decode(request.content),
        "buffers": [memoryview(buffer) for buffer in request.buffers],
    }
