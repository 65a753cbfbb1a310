"""Fixtures: kernels on each event loop, for the modules that are marked with one of `loops.py`."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def loop(request: pytest.FixtureRequest) -> str:
    """The event loop of the main thread: asyncio, uvloop or trio; without a parameter what a user gets."""
    return getattr(request, "param", "uvloop")


@pytest.fixture(scope="module")
def options(loop: str) -> tuple[str, ...]:
    return ("--backend=trio",) if loop == "trio" else ()


@pytest.fixture(scope="module")
def environment(loop: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    if loop != "asyncio":
        return {}
    folder = tmp_path_factory.mktemp("no_uvloop")
    (folder / "uvloop.py").write_text("raise ImportError('not here')")
    return {"PYTHONPATH": str(folder)}
