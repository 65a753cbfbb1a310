"""Scopes that can be cancelled from any thread: the same for asyncio and trio."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any

from .cancellation import current_task
from .wakeups import current_library, for_current_loop

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["CancelScope", "new_scope", "not_yet", "shield_of_anyio", "shielded"]


def new_scope(*, shield: bool = False, timeout: float | None = None, outer: CancelScope | None = None) -> CancelScope:
    """A scope for the task that calls this: ``with new_scope() as scope``. When it is cancelled, or ``timeout``
    seconds after it was entered, what runs in it is cancelled, and the cancellation ends with the scope.

    With ``shield`` it is not cancelled with the scopes around it: those of trio, and on asyncio those of anyio, if
    that is in use. (Nothing keeps ``asyncio.Task.cancel()`` out.)

    ``outer`` is a scope around this one, if there is one. If both are cancelled together, it leaves the task alone
    until this one has ended, so that what this one was cancelled for can be handled first.
    """
    return (_TrioScope if current_library() == "trio" else _AsyncioScope)(shield, timeout, outer)


class CancelScope:
    """The part of a task between ``__enter__`` and ``__exit__``."""

    def __init__(self, shield: bool, timeout: float | None, outer: CancelScope | None) -> None:
        task = current_task()
        if task is None:
            raise RuntimeError("this is to be used in a task, not in a callback of the event loop")
        self._task: Any = task
        self._shield = shield
        self._timeout = timeout
        self._wakeups = for_current_loop()
        self._token = 0
        self._cancelled = False
        self._outer = outer if outer is not None and outer._task is task else None
        self._inner: CancelScope | None = None
        #: It is to be cancelled as soon as the inner scope has ended.
        self._waits = False

    def cancel(self) -> None:
        """Cancels what runs in it, soon. From any thread; does nothing after its end."""
        self._wakeups.wake(self._token)

    def __enter__(self) -> Self:
        self._token = self._wakeups.register(self._cancel)
        if self._outer is not None:
            self._outer._inner = self
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._wakeups.forget(self._token)
        if (outer := self._outer) is not None:
            outer._inner = None
            if outer._waits:
                outer._waits = False
                outer.cancel()
        return self._close(exc_type, error, traceback)

    def _cancel(self) -> None:
        # The task waits somewhere inside of the scope, because the loop runs this.
        if self._cancelled:
            return
        if self._inner is not None and self._inner._cancelled:
            self._waits = True
            return
        self._cancelled = True
        self._deliver()

    def _deliver(self) -> None:
        raise NotImplementedError

    def _close(self, *error: Any) -> bool:
        """Returns whether the error is this scope's own cancellation, which ends here."""
        raise NotImplementedError


class _TrioScope(CancelScope):
    def __enter__(self) -> Self:
        import trio

        self._scope = trio.CancelScope(shield=self._shield)
        if self._timeout is not None:
            self._scope.deadline = trio.current_time() + self._timeout
        super().__enter__()
        self._scope.__enter__()
        return self

    def _deliver(self) -> None:
        self._scope.cancel()

    def _close(self, *error: Any) -> bool:
        return bool(self._scope.__exit__(*error))


class _AsyncioScope(CancelScope):
    """Cancels the task once, as ``asyncio.timeout`` does, even if it goes on."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._before = self._task.cancelling()
        self._around = shield_of_anyio() if self._shield else contextlib.nullcontext()
        self._around.__enter__()
        self._timer = None
        if self._timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout, self._cancel)
        return self

    def _deliver(self) -> None:
        self._task.cancel(self)

    def _not_yet(self) -> bool:
        """Takes the cancellation back, to repeat it a little later. False if something else has cancelled the task."""
        task = asyncio.current_task()
        if task is None or task is not self._task or task.cancelling() > self._before + 1:
            return False
        task.uncancel()
        self._cancelled = False
        self.cancel()
        return True

    def _close(self, *error: Any) -> bool:
        if self._timer is not None:
            self._timer.cancel()
        self._around.__exit__(*error)
        # Something else may have cancelled the task too. That does not end here.
        ours_only = self._cancelled and self._task.uncancel() <= self._before
        return ours_only and isinstance(error[1], asyncio.CancelledError)


def not_yet(error: asyncio.CancelledError) -> bool:
    """On asyncio: lets a task that was cancelled by a scope go on until it waits the next time. False if it was
    cancelled by anything else."""
    scope = error.args[0] if error.args else None
    return isinstance(scope, _AsyncioScope) and scope._not_yet()


def shield_of_anyio() -> contextlib.AbstractContextManager[Any]:
    """On asyncio: keeps the scopes of anyio around it from cancelling the task again and again."""
    anyio = sys.modules.get("anyio")
    if anyio is None:
        return contextlib.nullcontext()
    try:
        anyio.get_current_task()
    except RuntimeError:
        # A loop that it does not know, so none of its scopes are around: trio-asyncio's.
        return contextlib.nullcontext()
    scope: contextlib.AbstractContextManager[Any] = anyio.CancelScope(shield=True)
    return scope


async def shielded(future: asyncio.Future[Any]) -> None:
    """On asyncio: waits for a future also if the task is cancelled meanwhile. That takes effect afterwards."""
    cancelled = None
    with shield_of_anyio():
        while not future.done():
            try:
                await asyncio.wait((future,))
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
