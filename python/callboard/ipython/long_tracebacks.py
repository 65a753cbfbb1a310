"""Shortens the tracebacks of deep recursions before IPython formats them.

IPython looks for the module and the source of each frame, which takes a millisecond, and then shows three of the frames
that are in the same line. Here the others are taken out first.
"""

from __future__ import annotations

import functools
import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import patches

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("callboard.shell")

#: Longer ones are shortened, frames.
_LONG = 100

_TARGET = "IPython.core.ultratb:VerboseTB.get_records"


def shorten() -> None:
    """Has IPython look at what it shows only. To be called once."""
    try:
        is_known = patches.TABLE[_TARGET].fits(patches.present(_TARGET))
    except (ImportError, AttributeError):
        is_known = False
    if is_known:
        patches.wrap(_TARGET, _shortened)
    else:
        logger.debug("long tracebacks are not shortened: this is another version of IPython")


def _shortened(original: Callable[..., Any]) -> Callable[..., Any]:
    from IPython.core.tbtools import FrameInfo
    from stack_data.core import RepeatedFrames
    from stack_data.utils import collapse_repeated

    @functools.wraps(original)
    def get_records(self: Any, etb: TracebackType, context: int, tb_offset: int) -> Any:
        entries = _entries(etb)
        if len(entries) <= _LONG:
            return original(self, etb, context, tb_offset)
        pieces = list(collapse_repeated(entries, collapser=RepeatedFrames, key=_place))
        kept = [piece for piece in pieces if isinstance(piece, TracebackType)]
        records = {id(record.frame): record for record in original(self, _chain(kept), context, tb_offset)}
        found = []
        for piece in pieces:
            if isinstance(piece, TracebackType):
                # IPython leaves its own out.
                if (record := records.get(id(piece.tb_frame))) is not None:
                    found.append(record)
            else:
                found.append(FrameInfo(piece.description, None, None, None, None, sd=piece))  # type: ignore[arg-type]
        return found

    return get_records


def _entries(traceback: TracebackType | None) -> list[TracebackType]:
    entries = []
    while traceback is not None:
        entries.append(traceback)
        traceback = traceback.tb_next
    return entries


def _place(entry: TracebackType) -> tuple[Any, int]:
    return entry.tb_frame.f_code, entry.tb_lineno


def _chain(entries: list[TracebackType]) -> TracebackType | None:
    """A traceback of copies of these entries."""
    chain: TracebackType | None = None
    for entry in reversed(entries):
        chain = TracebackType(chain, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return chain
