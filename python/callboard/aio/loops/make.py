"""Makes the event loop of a Caller, and imports the modules of trio only for those that use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import check_backend, check_guest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import Loop, OwnLoop, Served
    from .guest import Guest


def new_loop(backend: str, options: dict[str, Any]) -> OwnLoop:
    """Makes an event loop for the calling thread.

    Raises `RuntimeError` if the backend or an option is not installed; what a ``loop_factory`` raises comes through.
    """
    check_backend(backend)
    if backend == "trio":
        from .trio_loop import TrioLoop

        return TrioLoop(options)
    from .asyncio_loop import AsyncioLoop

    return AsyncioLoop(options)


def borrow(served: Served, backend: str) -> Loop:
    """Returns the event loop that the calling thread runs already, as the loop of a Caller."""
    if backend == "trio":
        from .borrowed_trio import BorrowedTrio

        return BorrowedTrio(served)
    from .borrowed import BorrowedAsyncio

    return BorrowedAsyncio(served)


def start_guest(host: Any, backend: str, on_end: Callable[[BaseException | None], None]) -> Guest:
    """Starts the event loop of the other backend as a guest of `host`, in the calling thread. `on_end` is called with
    what it has failed with, if it has.

    Raises `RuntimeError` if trio or trio-asyncio is not installed."""
    check_guest("trio" if backend == "asyncio" else "asyncio", backend)
    from .guest import AsyncioGuest, TrioGuest

    return TrioGuest(host, on_end) if backend == "trio" else AsyncioGuest(host, on_end)
