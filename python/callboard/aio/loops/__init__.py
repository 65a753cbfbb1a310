"""The event loops of Callers: asyncio's and trio's, also one as the guest of the other.

Modules that import trio at their top (`trio_loop`, `borrowed_trio`, `guest`) are imported only when trio is used. Each
module adds its own to the sets of code objects below, by which frames are recognized.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

#: Every frame below one of these belongs to the event loop.
OUTERMOST: set[CodeType] = set()

#: Frames between the task of a call and the user's function: tracebacks begin behind them.
CALLING: set[CodeType] = set()
