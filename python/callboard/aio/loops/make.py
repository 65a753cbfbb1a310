"""Makes the event loop of a Caller, and says what is missing for it. Imports trio only if it is used."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

from ... import patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import Loop, OwnLoop, Served
    from .guest import Guest

#: The options of an event loop, by backend.
OPTIONS = {
    "asyncio": ("debug", "loop_factory", "use_uvloop"),
    "trio": ("clock", "instruments", "restrict_keyboard_interrupt_to_checkpoints", "strict_exception_groups"),
}


def check_backend(backend: str) -> None:
    """Raises an error that says what to do, unless the backend can be used here."""
    if backend not in OPTIONS:
        msg = f"{backend!r} is not a backend: the backends are asyncio and trio"
        raise ValueError(msg)
    if backend == "trio":
        try:
            import trio  # noqa: F401
        except ImportError as error:
            msg = f"trio is not installed: {sys.executable} -m pip install trio trio-asyncio"
            raise RuntimeError(msg) from error


def check_guest(host: str, backend: str) -> None:
    """Raises an error that says what to do, unless this backend can be used as a guest of the other one."""
    check_backend(backend)
    if host == "trio":
        try:
            _import_trio_asyncio()
        except ImportError as error:
            msg = f"asyncio on a trio Caller needs trio-asyncio: {sys.executable} -m pip install trio-asyncio"
            raise RuntimeError(msg) from error
        except AttributeError as error:
            # trio-asyncio 0.15 takes from asyncio what Python 3.14 does not have.
            msg = "asyncio on a trio Caller needs trio-asyncio, which fails here: start the Caller with asyncio"
            raise RuntimeError(msg) from error


def _import_trio_asyncio() -> None:
    """Imports the module, and undoes what the import does to ``asyncio.run`` and every other loop of the process that
    is not trio's: from then on they would run in trio."""
    if sys.modules.get("trio_asyncio") is None:
        from ..event_loop_policy import event_loop_policy

        policy = event_loop_policy()
        import trio_asyncio  # noqa: F401

        patches.put("trio_asyncio._loop:_FakedPolicy.policy", policy)


def check_options(backend: str, options: dict[str, Any] | None) -> None:
    """Raises an error that says what to do, unless an event loop can be made with these options."""
    options = options or {}
    for name in options:
        if name not in OPTIONS[backend]:
            msg = f"{name!r} is no option of {backend}: its options are {', '.join(OPTIONS[backend])}"
            raise ValueError(msg)
    if options.get("use_uvloop"):
        _uvloop(True)


_importing = threading.Lock()


def _uvloop(wanted: bool | None) -> Any:
    """The module uvloop; None if it is not wanted, or not installed and not asked for."""
    if wanted is False:
        return None
    try:
        # If two threads import a module that fails, the second one may get what is left of it.
        with _importing:
            import uvloop
    except ImportError:
        if wanted:
            msg = f"uvloop is not installed: {sys.executable} -m pip install uvloop"
            raise RuntimeError(msg) from None
        return None
    return uvloop


def _new_asyncio_loop(
    use_uvloop: bool | None = None, loop_factory: Any = None, debug: bool | None = None
) -> asyncio.AbstractEventLoop:
    """Makes a loop with the factory (a callable, or where to import one: ``package.module.function``), else with uvloop
    where it is installed and not unwanted, else with asyncio."""
    if isinstance(loop_factory, str):
        from importlib import import_module

        module, _, name = loop_factory.rpartition(".")
        loop_factory = getattr(import_module(module), name)
    loop: asyncio.AbstractEventLoop
    if loop_factory is not None:
        loop = loop_factory()
    else:
        uvloop = _uvloop(use_uvloop)
        # Not asyncio.new_event_loop(): once trio-asyncio has been imported, that makes one of trio's.
        is_patched = sys.modules.get("trio_asyncio") is not None
        new = asyncio.SelectorEventLoop if is_patched else asyncio.new_event_loop
        loop = new() if uvloop is None else uvloop.new_event_loop()
    if debug is not None:
        loop.set_debug(debug)
    return loop


def new_loop(backend: str, options: dict[str, Any]) -> OwnLoop:
    """Makes an event loop for the calling thread.

    Raises `RuntimeError` if the backend or an option is not installed; what a ``loop_factory`` raises comes through.
    """
    check_backend(backend)
    if backend == "trio":
        from .trio_loop import TrioLoop

        return TrioLoop(options)
    from .asyncio_loop import AsyncioLoop

    return AsyncioLoop(_new_asyncio_loop(**options))


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
