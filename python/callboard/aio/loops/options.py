"""Which event loops can be made, and with which options."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

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
            import_trio_asyncio()
        except ImportError as error:
            msg = f"asyncio on a trio Caller needs trio-asyncio: {sys.executable} -m pip install trio-asyncio"
            raise RuntimeError(msg) from error


def import_trio_asyncio() -> Any:
    """Imports the module, and undoes what the import does to ``asyncio.run`` and every other loop of the process that
    is not trio's: from then on they would run in trio."""
    if sys.modules.get("trio_asyncio") is None:
        policy = asyncio.get_event_loop_policy()
        import trio_asyncio

        trio_asyncio._loop._FakedPolicy.policy = policy
    import trio_asyncio

    return trio_asyncio


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


def new_asyncio_loop(
    use_uvloop: bool | None = None, loop_factory: Any = None, debug: bool | None = None
) -> asyncio.AbstractEventLoop:
    """Makes a loop with the factory (a callable, or where to import one: ``package.module.function``), else with uvloop
    where it is installed and not unwanted, else with asyncio."""
    if isinstance(loop_factory, str):
        from importlib import import_module

        module, _, name = loop_factory.rpartition(".")
        loop_factory = getattr(import_module(module), name)
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
