"""Fixture: each kind of event loop, with calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from callboard.aio.group import PendingGroup
from callboard.aio.wakeups import current_library
from event_loops import RUNNERS, Calls, calls, sleep

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_loops import Run


@pytest.fixture(params=RUNNERS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs an async function that gets a :class:`Calls`. Nothing of a group may be left in the task afterwards."""

    def run(main: Callable[[Calls], Any]) -> None:
        async def around() -> None:
            async with calls() as call_soon:
                await main(call_soon)
            if current_library() == "asyncio":
                assert asyncio.current_task().cancelling() == 0
            await sleep(0)
            await sleep(0.001)
            assert PendingGroup.current() is None

        RUNNERS[request.param](around)

    return run
