"""Fixtures: kernels on each backend."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def options(backend: str) -> tuple[str, ...]:
    return ("--backend", backend)
