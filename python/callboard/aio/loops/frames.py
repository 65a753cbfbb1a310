"""Code objects that frames are recognized by. Each module of the loops adds its own when it is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType

#: Every frame below one of these belongs to the event loop.
OUTERMOST: set[CodeType] = set()

#: Frames between the task of a call and the user's function: tracebacks begin behind them.
CALLING: set[CodeType] = set()
