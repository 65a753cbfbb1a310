"""Trackers and managers: which Pendings they hold, and through which contexts."""

from __future__ import annotations

import contextvars
import weakref

import pytest
from callboard.aio.pending import Pending
from callboard.aio.tracker import PendingManager, PendingTracker


class Manager(PendingManager):
    """A manager of these tests."""


class Other(PendingManager):
    """A manager of another class."""


def test_a_manager_tracks_what_asks_for_it() -> None:
    manager, other = Manager(), Other()
    assert Manager.current() is None
    assert Manager.active_id() is None
    with manager.context():
        assert Manager.current() is manager
        assert Manager.active_id() == manager.id
        assert Other.current() is None
        with other.context():
            both = Pending(None, PendingTracker)
            one = Pending(None, (Manager,))
            none = Pending()
        assert manager.pending == {both, one}
        assert other.pending == {both}
        assert none.context is None
    assert Manager.current() is None
    both.set_result(1)
    one.cancel()
    assert manager.pending == other.pending == set()


def test_the_context_of_a_pending_knows_only_its_trackers() -> None:
    manager, other = Manager(), Other()
    with manager.context(), other.context():
        pen = Pending(None, Manager)
        assert pen.context.run(Manager.current) is manager
        assert pen.context.run(Other.current) is None
        # Pendings made in that context are tracked too.
        child = pen.context.run(Pending, None, PendingTracker)
        assert child in manager.pending
        assert child not in other.pending
        untracked = Pending(contextvars.copy_context())
        assert untracked.context.run(Manager.current) is None
        assert untracked not in manager.pending
    # A context that was copied earlier decides, not the current one.
    with manager.context():
        context = contextvars.copy_context()
    assert Pending(context, PendingTracker) in manager.pending


def test_the_last_manager_that_was_activated_counts() -> None:
    one, two = Manager(), Manager()
    assert one.id != two.id
    token = one.activate()
    inner = two.activate()
    pen = Pending(None, Manager)
    assert (pen in one.pending, pen in two.pending) == (False, True)
    two.deactivate(inner)
    assert Manager.current() is one
    one.deactivate(token)
    with pytest.raises(RuntimeError):
        one.deactivate(token)


def test_pendings_are_added_and_removed_by_hand() -> None:
    manager = Manager()
    pen = Pending()
    manager.add(pen)
    manager.add(pen)
    assert manager.pending == {pen}
    manager.remove(pen)
    manager.remove(pen)
    assert manager.pending == set()
    pen.set_result(1)
    manager.add(pen)
    assert manager.pending == set()


def test_each_kind_of_manager_has_a_context_variable_of_its_own() -> None:
    class Special(Manager):
        pass

    manager, special = Manager(), Special()
    token = manager.activate()
    assert Special.current() is None
    inner = special.activate()
    assert (Manager.current(), Special.current()) == (manager, special)
    with pytest.raises(ValueError, match="different ContextVar"):
        manager.deactivate(inner)
    assert Pending(None, Special) in special.pending
    special.deactivate(inner)
    manager.deactivate(token)


@pytest.mark.parametrize("kind", [PendingTracker, PendingManager])
def test_a_tracker_is_to_be_subclassed(kind: type) -> None:
    with pytest.raises(TypeError, match="make a subclass"):
        kind()


def test_a_context_keeps_no_tracker_alive() -> None:
    manager = Manager()
    reference = weakref.ref(manager)
    manager.activate()
    try:
        del manager
        assert reference() is None
        assert Manager.current() is None
        assert Pending(None, Manager).context.run(Manager.active_id) is None
    finally:
        Manager._active.set(None)
