"""Trackers: which pendings were made in a context, and have not ended."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from .pending import Pending, Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from .scheduler import Scheduler

__all__ = ["PendingManager", "PendingTracker"]


def _no_callers(_ident: int) -> None:
    raise RuntimeError("the Callers are not there yet: import callboard.Caller first")


#: Returns the Caller of the thread with this ident, if there is one; makes it if that is the calling thread. Set by
#: `callboard.callers` when it is imported. For `PendingGroup.caller`; here because not every process needs groups.
caller_of_thread: Callable[[int], Scheduler | None] = _no_callers


class PendingTracker(Tracker):
    """Keeps track of the pendings that are made in a context. To be subclassed; at most one instance of each subclass
    is active in a context.

    Every pending looks at every subclass, so make few of them, and only when they are needed.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()

    #: The unique id of the instance.
    id: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("_abstract", False):
            return
        cls._active = contextvars.ContextVar(f"{cls.__module__}.{cls.__qualname__}", default=None)
        with PendingTracker._lock:
            Tracker._subclasses = (*Tracker._subclasses, cls)

    def __init__(self) -> None:
        if not hasattr(type(self), "_active"):
            raise TypeError(f"{type(self).__name__} keeps track of nothing by itself: make a subclass of it")
        self.id = str(uuid.uuid4())
        self._pending: set[Pending[Any]] = set()
        Tracker._instances[self.id] = self

    @property
    def pending(self) -> set[Pending[Any]]:
        """The pendings that are tracked and not done: a copy."""
        return self._pending.copy()

    @classmethod
    def current(cls) -> Self | None:
        """The instance that is active in the current context, if there is one."""
        return cls._instances.get(cls._active.get() or "")  # type: ignore[return-value]

    @classmethod
    def active_id(cls) -> str | None:
        """The id of the instance that is active in the current context."""
        return cls._active.get()

    def add(self, pen: Pending[Any]) -> None:
        """Tracks ``pen`` until it is done."""
        if not pen.done() and pen not in self._pending:
            self._pending.add(pen)
            pen.add_done_callback(self._on_pending_done)

    def _on_pending_done(self, pen: Pending[Any]) -> None:
        self._pending.discard(pen)

    def _activate(self) -> contextvars.Token[str | None]:
        return self._active.set(self.id)

    def _deactivate(self, token: contextvars.Token[str | None]) -> None:
        self._active.reset(token)


class PendingManager(PendingTracker):
    """Keeps track of the pendings that are made in the contexts it is activated in. To be subclassed.

    Activating an instance takes the place of the one of the same subclass that was active there::

        class Downloads(PendingManager):
            "The downloads of one user."


        downloads = Downloads()
        with downloads.context():
            caller.call_soon(fetch, url)
        ...
        for pending in downloads.pending:
            pending.cancel("the user has gone")
    """

    _abstract = True

    def activate(self) -> contextvars.Token[str | None]:
        """Tracks pendings in the current context from now on. Returns a token for :meth:`deactivate`."""
        return self._activate()

    def deactivate(self, token: contextvars.Token[str | None]) -> None:
        """Ends what :meth:`activate` has begun, in the same context."""
        self._deactivate(token)

    def remove(self, pen: Pending[Any]) -> None:
        """Tracks ``pen`` no longer."""
        self._pending.discard(pen)

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Tracks pendings inside of a ``with`` block."""
        token = self.activate()
        try:
            yield
        finally:
            self.deactivate(token)
