"""Fixtures: kernels on each backend, and subshells that are deleted after the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from subshell_tools import Subshell, ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import Client


@pytest.fixture(scope="module")
def options(backend: str) -> tuple[str, ...]:
    return ("--backend", backend)


@pytest.fixture
def make(client: Client) -> Iterator[Callable[[], Subshell]]:
    """Makes subshells, which are deleted afterwards."""
    made: list[Subshell] = []

    def make() -> Subshell:
        made.append(Subshell(client))
        return made[-1]

    yield make
    for subshell in made:
        if subshell.id in ids(client):
            subshell.delete()


@pytest.fixture
def sub(make: Callable[[], Subshell]) -> Subshell:
    return make()
