"""Groups of pendings that are waited for, and cancelled, together."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, final

from . import cancel_scope, tracker
from .pending import Pending, PendingCancelled
from .tracker import PendingTracker

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .scheduler import Scheduler

__all__ = ["PendingGroup"]

logger = logging.getLogger("callboard.pending")


@final
class PendingGroup(PendingTracker):
    """Waits at its end for all pendings that were made in it, and cancels them together::

        async with PendingGroup() as group:
            group.caller.to_thread(work)
            group.caller.call_soon(more_work)
        # Both are done.

    If one of them fails, the group is cancelled: the body, and all that is still pending. The errors come out as an
    ``ExceptionGroup``. If the body fails, or is cancelled from outside, the group is cancelled too, and what the body
    raised comes out. In each case the end waits until all pendings are done, for at most ``cancellation_timeout``
    seconds.

    A pending belongs to the group if it was made in its context by a call of a Caller, or with ``PendingGroup`` or
    ``PendingTracker`` among its trackers. A group inside of another shares its pendings with that.

    Can be used once, under asyncio and trio.
    """

    #: How long the end waits for pendings that were cancelled, seconds.
    cancellation_timeout: float = 10

    def __init__(self, *, mode: Literal[0, 1, 2, 3] = 0, shield: bool = False, timeout: float | None = None) -> None:
        """``mode`` says what the cancellation of one of its pendings does, and what comes out of a cancelled group in
        which nothing has failed:

        ====  ====================================  ===========================
        mode  when one of its pendings is cancelled  what a cancelled group does
        ====  ====================================  ===========================
        0     nothing                               ends quietly
        1     the group is cancelled                raises ``PendingCancelled``
        2     the group is cancelled                ends quietly
        3     nothing                               raises ``PendingCancelled``
        ====  ====================================  ===========================

        With ``shield`` it is not cancelled with the scopes around it: those of trio, or of anyio. (Nothing keeps
        ``asyncio.Task.cancel()`` out.) After ``timeout`` seconds the group is cancelled.
        """
        if mode not in (0, 1, 2, 3):
            raise ValueError(f"mode is 0, 1, 2 or 3, not {mode!r}")
        super().__init__()
        self._mode = mode
        self._shield = shield
        self._timeout = timeout
        self._thread = threading.get_ident()
        self._caller: Scheduler | None = None
        self._parent_id: str | None = None
        self._scope: cancel_scope.CancelScope | None = None
        self._cancelled: str | None = None
        self._errors: list[BaseException] = []
        #: Done when nothing is pending any more; while `_wait_until_empty` waits for that.
        self._empty: Pending[None] | None = None

    def __repr__(self) -> str:
        cancelled = " cancelled" if self._cancelled is not None else ""
        return f"<PendingGroup{cancelled} mode={self._mode} pending={len(self._pending)} at {id(self):#x}>"

    @property
    def caller(self) -> Scheduler:
        """The Caller of the thread in which the group was made."""
        if self._caller is None:
            caller = tracker.caller_of_thread(self._thread)
            if caller is None:
                raise RuntimeError("the thread in which this group was made has no Caller: ask for it there first")
            self._caller = caller
        return self._caller

    def add(self, pen: Pending[Any]) -> None:
        """Adds ``pen`` to this group, and to the group around it."""
        if pen not in self._pending:
            self._pending.add(pen)
            pen.add_done_callback(self._on_pending_done)
        parent = self._instances.get(self._parent_id or "")
        if parent is not None:
            parent.add(pen)

    def cancel(self, msg: str | None = None) -> bool:
        """Cancels the body and all its pendings. From any thread. Returns True."""
        known, self._cancelled = self._cancelled, "\n".join(filter(None, (self._cancelled, msg)))
        if known is None:
            if self._scope is not None:
                self._scope.cancel()
            for pen in self.pending:
                try:
                    pen.cancel(msg)
                except Exception:
                    logger.exception("%r cannot be cancelled", pen)
        return True

    def cancelled(self) -> bool:
        """Whether the group was cancelled."""
        return self._cancelled is not None

    def _on_pending_done(self, pen: Pending[Any]) -> None:
        if pen not in self._pending:
            return
        if pen.cancelled():
            if self._mode in (1, 2):
                self.cancel(f"one of the group was cancelled: {pen}")
        elif (error := pen.exception()) is not None:
            self._errors.append(error)
            self.cancel(f"one of the group has failed: {pen}")
        self._pending.discard(pen)
        # In this order, and `_wait_until_empty` does the opposite: one of the two sees the other.
        if not self._pending and (empty := self._empty) is not None:
            empty.set_result(None)

    async def _wait_until_empty(self, *, shield: bool = False, timeout: float | None = None) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        while self._pending:
            empty: Pending[None] = Pending()
            self._empty = empty
            if not self._pending:
                return
            left = None if end is None else end - time.monotonic()
            await empty.wait(result=False, shield=shield, timeout=left)

    async def __aenter__(self) -> Self:
        if self._scope is not None:
            raise RuntimeError("a PendingGroup can be used once: make another")
        self._parent_id = self.active_id()
        outer = None if (parent := self.current()) is None else parent._scope
        self._scope = cancel_scope.new_scope(shield=self._shield, timeout=self._timeout, outer=outer)
        self._token = self._activate()
        self._scope.__enter__()
        if self._cancelled is not None:
            self._scope.cancel()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        assert self._scope is not None
        error = exc
        if error is None:
            try:
                await self._wait_until_empty()
            except BaseException as problem:  # noqa: BLE001 - it comes out below
                error = problem
        if error is not None:
            self.cancel(f"the body has ended with {error!r}")
        try:
            if error is None:
                ends_here = self._scope.__exit__(None, None, None)
            else:
                ends_here = self._scope.__exit__(type(error), error, error.__traceback__)
        finally:
            self._deactivate(self._token)
            self._instances.pop(self.id, None)
            # A coroutine that is thrown away cannot wait for the end.
            if self._pending and not isinstance(error, GeneratorExit):
                await self._wait_for_the_rest()
        if error is not None and not ends_here:
            if error is exc:
                return False
            raise error
        if self._errors:
            raise BaseExceptionGroup("what failed in this PendingGroup", self._errors)
        if self._cancelled is not None and self._mode in (1, 3):
            raise PendingCancelled(self._cancelled)
        return True

    async def _wait_for_the_rest(self) -> None:
        try:
            await self._wait_until_empty(shield=True, timeout=self.cancellation_timeout)
        except TimeoutError:
            text = "%d pendings have not ended %s seconds after they were cancelled, and are left behind: %r"
            logger.warning(text, len(self._pending), self.cancellation_timeout, self.pending)
