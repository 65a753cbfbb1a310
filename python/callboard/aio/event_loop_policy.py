"""asyncio's event loop policy."""

from __future__ import annotations

import asyncio
from typing import Any


def event_loop_policy() -> Any:
    """The policy of asyncio, without the warning that asking for it gives since Python 3.14."""
    get_policy = getattr(asyncio.events, "_get_event_loop_policy", None) or asyncio.get_event_loop_policy
    return get_policy()
