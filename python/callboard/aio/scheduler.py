"""The part of a Caller that groups, waits and tasks need; for type checkers only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from .pending import Pending, ProtectedPending, Tracker


class Scheduler(Protocol):
    """Runs functions in the event loop of a thread: `callboard.Caller`."""

    stopping: ProtectedPending[None]
    stopped: ProtectedPending[None]

    @property
    def name(self) -> str: ...

    def schedule_call(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: contextvars.Context | None = ...,
        trackers: type[Tracker] | tuple[type[Tracker], ...] = ...,
        backend: str | None = ...,
        /,
        **metadata: Any,
    ) -> Pending[Any]: ...

    def call_soon(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Pending[Any]: ...

    def call_later(self, delay: float, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Pending[Any]: ...

    def call_direct(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None: ...

    def call_using_backend(
        self, backend: str, func: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Pending[Any]: ...

    def let_end(self, pen: Pending[Any]) -> None: ...

    def to_thread(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Pending[Any]: ...
