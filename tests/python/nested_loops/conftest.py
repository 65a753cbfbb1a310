"""Fixture: kernels that know every way to run an event loop inside a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prelude import PRELUDE

if TYPE_CHECKING:
    from support import Client


@pytest.fixture
def client(client: Client) -> Client:
    """A frontend of a kernel that knows the prelude."""
    run = client.run(PRELUDE)
    assert run.status == "ok", run.error
    return client
