"""The interpreter's switch interval, shortened for a moment."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The switch interval while a client waits for this thread, seconds.
_SHORT = 0.0001


@contextlib.contextmanager
def short_switch_interval() -> Iterator[None]:
    """Lets this thread have the GIL soon while a cell computes.

    After every blocking call (completion reads many files) a thread waits one switch interval for the GIL, 5 ms by
    default: seconds, all together.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SHORT)
    short = sys.getswitchinterval()
    try:
        yield
    finally:
        # Unless the cell has set an interval of its own meanwhile.
        if sys.getswitchinterval() == short:
            sys.setswitchinterval(before)
