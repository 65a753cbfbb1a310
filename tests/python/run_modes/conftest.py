"""Fixtures: kernels on each backend, and cells that hold up the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cells_at_once import WAITS, Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import Client


@pytest.fixture(scope="module")
def options(backend: str) -> tuple[str, ...]:
    return ("--backend", backend)


@pytest.fixture
def hold(client: Client) -> Iterator[Callable[[str], Held]]:
    """Puts a cell into the queue that does not end by itself: ``hold("await")``."""
    cells: list[Held] = []

    def hold(how: str) -> Held:
        cells.append(Held(client, WAITS[how]))
        return cells[-1]

    yield hold
    for cell in cells:
        cell.release()
