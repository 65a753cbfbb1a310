"""The Callers of the process, by actor and by thread."""

from __future__ import annotations

import atexit
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core import CallerHandle

C = TypeVar("C")

#: How long the end of the process waits for the threads of Callers, seconds.
_LAST_GRACE = 1.0


class CallerCreateOptions(TypedDict, total=False):
    """The options that a Caller is made with."""

    #: Its name, also that of its thread.
    name: str
    #: ``asyncio`` or ``trio``.
    backend: str
    #: The options of its event loop. For asyncio: ``use_uvloop`` (without it uvloop is used where it is installed),
    #: ``loop_factory`` (a callable, or where to import one) and ``debug``; for trio: the arguments of ``trio.run``.
    backend_options: dict[str, Any] | None
    #: The debugger is to leave its thread alone.
    no_debug: bool


class Registry(Generic[C]):
    """Finds the Callers of the process that have not stopped."""

    def __init__(self) -> None:
        # Reentrant: a finalizer may need it at any time.
        self.lock = threading.RLock()
        #: By the id of the actor. A Caller is kept alive by this until it has stopped.
        self.by_actor: dict[int, C] = {}
        #: By the ident of the thread, once the Caller runs in it.
        self.by_thread: dict[int, C] = {}
        #: Makes a Caller. Set by `caller.py`.
        self.make: Callable[[CallerHandle], C]
        #: Called with each Caller that is made, before its thread starts. A kernel sets it.
        self.on_new: Callable[[C], None] = lambda _caller: None

    def of(self, actor: CallerHandle, make: Callable[[CallerHandle], C] | None = None) -> C:
        """The Caller of an actor: one object for each. For an actor that has ended, another Caller, which is stopped
        and not registered."""
        with self.lock:
            known = self.by_actor.get(actor.id)
            if known is None:
                known = (make or self.make)(actor)
                if not actor.ended:
                    self.by_actor[actor.id] = known
                    self.on_new(known)
        return known

    def find(self, thread: threading.Thread, name: str, backend: str | None) -> Any:
        """The Caller of this thread; None if there is none, or it has borrowed a loop that has gone.

        Raises `ValueError` if it has another name or backend."""
        found: Any = self.by_thread.get(thread.ident or 0)
        if found is None:
            return None
        if thread is threading.current_thread() and found.loop_thread.is_stale:
            found.loop_thread.lost("its thread runs another event loop now")
            return None
        if name and name != found.name:
            msg = f"the Caller of this thread is called {found.name!r}, not {name!r}"
            raise ValueError(msg)
        if backend and str(backend) != found.backend:
            msg = f"the Caller of this thread runs on {found.backend}, not on {backend}"
            raise ValueError(msg)
        return found

    def enter(self, actor_id: int, ident: int) -> None:
        """The Caller of this actor runs in this thread from now on."""
        if (caller := self.by_actor.get(actor_id)) is not None:
            self.by_thread[ident] = caller

    def leave(self, actor_id: int, ident: int) -> None:
        """The Caller of this actor has stopped."""
        caller = self.by_actor.pop(actor_id, None)
        if caller is not None and self.by_thread.get(ident) is caller:
            del self.by_thread[ident]

    def all(self) -> list[C]:
        """All Callers that have not stopped, oldest first."""
        # list(): the dict may be changed by another thread meanwhile; the ids grow.
        return [caller for _, caller in sorted(list(self.by_actor.items()), key=lambda item: item[0])]  # noqa: C414


#: The Callers of this process. Their type is above this module.
registry: Registry[Any] = Registry()


@atexit.register
def _stop_all() -> None:
    """At the end of the process: lets what runs in Callers clean up, for a moment."""
    here = threading.current_thread()
    callers = [c for c in registry.all() if c.thread is not here and not c.stopping.done()]
    for caller in callers:
        caller.stop(force=True)
    end = time.monotonic() + _LAST_GRACE
    for caller in callers:
        if caller.thread is not None:
            caller.thread.join(max(0, end - time.monotonic()))
