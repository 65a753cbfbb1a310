"""Wraps the functions that start an event loop, so that they can be called where one runs."""

from __future__ import annotations

import functools
from asyncio import _get_running_loop
from typing import TYPE_CHECKING, Any

from .. import patches
from . import sigint
from .hide_loop import NestedRun

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

# ``trio._core._run`` and sniffio, which may be imported later, or never.
_trio: ModuleType | None = None
_sniffio: ModuleType | None = None


def install() -> None:
    """Lets asyncio's loops run inside cells from now on; those of other libraries once the functions of `AFTER_IMPORT`
    are called. To be called once, on the main thread, when the kernel handles SIGINT."""
    sigint.install()
    _wrap_asyncio()


def _nestable(function: Callable[..., Any], *, trio: bool = False, library: str | None = None) -> Callable[..., Any]:
    """Wraps a function that starts a loop, so that it can be called where one runs. `trio`: the loop may be trio's.
    `library`: the name of the library to set for sniffio, if the function runs a loop that exists already: the context
    of a task of that loop may have another one.
    """
    # As a guest of another loop, trio has a runner also while that loop has control, and starts no second one then.
    sign_of_trio = "runner" if trio else "task"

    @functools.wraps(function)
    def start(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if _get_running_loop() is None and (_trio is None or not hasattr(_trio.GLOBAL_RUN_CONTEXT, sign_of_trio)):
            main = sigint.main
            if main.interrupted and library is not None and main.run is not None and sigint.this_thread() is main:
                main.run.started()
            return function(*args, **kwargs)
        thread = sigint.this_thread()
        run = NestedRun(thread, is_trio=trio, library=library, trio=_trio, sniffio=_sniffio)
        try:
            thread.switching = True
            run.begin()
            return function(*args, **kwargs)
        finally:
            # The first statement, and no call: no interrupt can come in between.
            thread.switching = True
            run.end()

    return start


def _wrap(*targets: str, **options: Any) -> None:
    """Wraps functions of the table; see `_nestable`."""
    for target in targets:
        patches.wrap(target, functools.partial(_nestable, **options))


def _wrap_asyncio() -> None:
    # A Runner resets its state before its loop runs: a SIGINT that came earlier would be lost.
    patches.put("asyncio.runners:signal", sigint.SignalProxy(at_once=False))
    _wrap("asyncio:run")
    # Those that make the Runner's context are wrapped too: the outer library may be noted in it.
    _wrap("asyncio:Runner.__enter__", "asyncio:Runner.get_loop", "asyncio:Runner.run", "asyncio:Runner.close")
    _wrap("asyncio:BaseEventLoop.run_forever", "asyncio:BaseEventLoop.run_until_complete", library="asyncio")


def _wrap_uvloop(_module: ModuleType) -> None:
    _wrap("uvloop:Loop.run_forever", "uvloop:Loop.run_until_complete", library="asyncio")
    _wrap("uvloop:run")


def _tame_nest_asyncio(module: ModuleType) -> None:
    from .tame_nest_asyncio import tame

    tame(module)


def _wrap_trio(module: ModuleType) -> None:
    global _trio
    patches.put("trio._core._ki:signal", sigint.SignalProxy(at_once=True))
    patches.put("trio._util:signal", sigint.SignalProxy(at_once=True))
    _wrap("trio:run", trio=True)
    _trio = module._core._run


def _wrap_anyio(_module: ModuleType) -> None:
    _wrap("anyio._core._eventloop:run", trio=True)


def _keep_sniffio(module: ModuleType) -> None:
    global _sniffio
    # Old versions have no variable of the thread.
    if hasattr(module, "thread_local"):
        _sniffio = module


#: What is called with these modules when they have been imported.
AFTER_IMPORT: dict[str, Callable[[ModuleType], None]] = {
    # anyio imports it when it is first asked for it.
    "anyio._core._eventloop": _wrap_anyio,
    "nest_asyncio": _tame_nest_asyncio,
    "nest_asyncio2": _tame_nest_asyncio,
    "sniffio": _keep_sniffio,
    "trio": _wrap_trio,
    "uvloop": _wrap_uvloop,
}
