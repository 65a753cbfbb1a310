"""Fixture: each kind of event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from event_loops import RUNNERS

if TYPE_CHECKING:
    from event_loops import Run


@pytest.fixture(params=RUNNERS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs an async function in an event loop, of each kind."""
    return RUNNERS[request.param]
