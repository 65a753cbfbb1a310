"""Helpers for tests of PendingGroup: its modes, members that fail, and how a cancelled group ends."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from callboard.aio.pending import PendingCancelled
from event_loops import sleep

MODES = pytest.mark.parametrize("mode", range(4))

#: Modes in which a cancelled group raises, and in which a cancelled member cancels the group.
RAISES, FOLLOWS = (1, 3), (1, 2)


def fail(text: str = "no") -> None:
    raise ValueError(text)


async def fail_soon(text: str = "no") -> None:
    await sleep(0.005)
    fail(text)


def raised(group: BaseExceptionGroup) -> list[str]:
    return [str(error) for error in group.exceptions]


@contextlib.contextmanager
def ends(mode: int) -> Any:
    """Asserts that a cancelled group ends as its mode says: with PendingCancelled or without."""
    with pytest.raises(PendingCancelled) if mode in RAISES else contextlib.nullcontext():
        yield
