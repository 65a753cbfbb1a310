"""Fixtures: Callers, and event loops of programs that run no kernel."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from callboard import Caller
from caller_tools import BACKENDS, LOOPS, stop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fails when a test has not stopped its Callers."""
    yield
    left = Caller.all_callers()
    stop(*(caller for caller in left if caller.thread is not threading.current_thread()))
    assert left == []


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    """The event loop of the program."""
    return request.param


@pytest.fixture
def caller(backend: str) -> Iterator[Caller]:
    """A Caller with a thread of its own."""
    caller = Caller("NewThread", backend=backend)
    yield caller
    stop(caller)
