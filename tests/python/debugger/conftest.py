"""Fixtures: a debugger that is attached to the shared kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dap import Dap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Client


@pytest.fixture
def off(client: Client) -> Iterator[Dap]:
    """A client of the debugger, which is off."""
    dap = Dap(client)
    yield dap
    if dap.info()["isStarted"]:
        dap.detach()


@pytest.fixture
def debug(off: Dap) -> Dap:
    """A client of the debugger, which is attached."""
    return off.attach()
