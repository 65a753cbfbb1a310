"""Watches a descriptor in trio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


async def watch(fileno: int, drain: Callable[[], object], is_needed: Callable[[], bool]) -> None:
    """Calls `drain` whenever the descriptor is readable, until the task is cancelled because the run ends; from then on
    only as long as `is_needed`: tasks that still wait, shielded, must be woken all the same."""
    try:
        while True:
            await trio.lowlevel.wait_readable(fileno)
            drain()
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            while is_needed():
                await trio.lowlevel.wait_readable(fileno)
                drain()
        raise
