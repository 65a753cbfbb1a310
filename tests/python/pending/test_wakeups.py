"""Tokens that wake an event loop, and the home of Pendings without a loop."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING

import pytest
import trio
from callboard import _core
from callboard.aio import wakeups
from callboard.aio.pending import Pending
from callboard.aio.wakeups import Wakeups
from event_loops import RUNNERS, all_of
from other_threads import InThread, in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from event_loops import Run


def test_a_token_is_fired_until_it_is_forgotten() -> None:
    wakes = Wakeups()
    called = []
    token = wakes.register(lambda: called.append(1))
    other = wakes.register(lambda: called.append(2))
    with InThread(lambda: [wakes.wake(token) for token in (token, other, token)]):
        pass
    wakes.forget(other)
    wakes.drain()
    assert called == [1, 1]
    wakes.drain()
    assert called == [1, 1]


def test_an_interrupted_drain_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def interrupt() -> None:
        wakes.forget(interrupting)
        raise KeyboardInterrupt

    wakes = Wakeups(_core.Inbox())
    called = []
    first = wakes.register(lambda: called.append("first"))
    failing = wakes.register(lambda: 1 / 0)
    interrupting = wakes.register(interrupt)
    last = wakes.register(lambda: called.append("last"))
    for token in first, failing, interrupting, last:
        wakes.wake(token)
    with pytest.raises(KeyboardInterrupt):
        wakes.drain()
    assert called == ["first"]
    assert "ZeroDivisionError" in caplog.text
    assert len(wakes.inbox) == 2
    wakes.drain()
    assert called == ["first", "last"]


def test_a_loop_can_bring_its_own_inbox() -> None:
    async def main() -> None:
        wakes = Wakeups(_core.Inbox())
        wakeups.attach(wakes)
        if wakeups.current_library() == "trio":

            async def drain() -> None:
                while not pen.done():
                    await trio.lowlevel.wait_readable(wakes.inbox.fileno())
                    wakes.drain()
        else:
            asyncio.get_running_loop().add_reader(wakes.inbox.fileno(), wakes.drain)

            async def drain() -> None:
                pass

        async def wait() -> int:
            assert wakeups.for_current_loop() is wakes
            return await pen

        pen = Pending()
        in_thread(pen.set_result, 1)
        assert (await all_of(drain, wait))[1] == 1
        if wakeups.current_library() != "trio":
            asyncio.get_running_loop().remove_reader(wakes.inbox.fileno())

    for run in RUNNERS.values():
        run(main)


@pytest.fixture
def home() -> Iterator[Wakeups]:
    """The home of Pendings without a loop."""
    assert wakeups.home is None
    wakeups.home = Wakeups()
    yield wakeups.home
    wakeups.home = None


def test_the_callbacks_of_an_adopted_pending_run_at_home(home: Wakeups) -> None:
    # What an actor does is played here: it would wake the token that the pending has at home.
    pen = Pending()
    wakeups.adopt(pen)
    called = []
    pen.add_done_callback(called.append)
    reference = weakref.ref(pen)
    pen.set_result(1)
    assert called == [pen]
    called.clear()
    del pen
    gc.collect()
    assert reference() is not None
    home.drain()
    gc.collect()
    assert reference() is None


def test_an_adopted_pending_moves_when_its_loop_ends(run: Run, home: Wakeups, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Pending:
        pen = Pending()
        pen.set_canceller(lambda _: None)
        wakeups.adopt(pen)
        assert not home._adopted
        return pen

    pen = run(main)
    assert list(home._adopted.values()) == [pen]
    pen.set_result(1)
    home.drain()
    assert not home._adopted
    assert not caplog.text


def test_a_pending_cannot_be_adopted_without_a_loop() -> None:
    with pytest.raises(RuntimeError, match=r"callboard\.aio\.wakeups\.home"):
        wakeups.adopt(Pending())
