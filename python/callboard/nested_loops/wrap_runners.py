"""Wraps the functions that start an event loop, so that they can be called where one runs."""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import TYPE_CHECKING, Any

from ..util.import_hook import after_import
from ..util.lazy_import import LazyModule
from . import sigint
from .hide_loop import NestedRun, keep_sniffio, keep_trio, loop_runs
from .signal_proxy import replace_signal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def install() -> None:
    """Lets loops run inside cells from now on. To be called once, on the main thread, when the kernel handles
    SIGINT."""
    sigint.install()
    _wrap_asyncio()
    after_import(_AFTER_IMPORT)


def _nestable(function: Callable, *, trio: bool = False, library: str | None = None) -> Callable:
    """Wraps a function that starts a loop, so that it can be called where one runs. `trio`: the loop may be trio's.
    `library`: the name of the library to set for sniffio, if the function runs a loop that exists already: the context
    of a task of that loop may have another one.
    """
    # As a guest of another loop, trio has a runner also while that loop has control, and starts no second one then.
    sign_of_trio = "runner" if trio else "task"

    @functools.wraps(function)
    def start(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if not loop_runs(sign_of_trio):
            main = sigint.main
            if main.interrupted and library is not None and main.run is not None and sigint.this_thread() is main:
                main.run.started()
            return function(*args, **kwargs)
        thread = sigint.this_thread()
        run = NestedRun(thread, trio=trio, library=library)
        try:
            thread.switching = True
            run.begin()
            return function(*args, **kwargs)
        finally:
            # The first statement, and no call: no interrupt can come in between.
            thread.switching = True
            run.end()

    return start


def _wrap(owner: Any, *names: str, **options: Any) -> None:
    """Wraps functions of a module, or methods of a class; see `_nestable`."""
    for name in names:
        original = getattr(owner, name)
        wrapper = _nestable(original, **options)
        setattr(owner, name, wrapper)
        if not isinstance(owner, type):
            # Other modules may have imported it from there.
            for module in list(sys.modules.values()):
                if type(module) is not LazyModule and getattr(module, "__dict__", {}).get(name) is original:
                    setattr(module, name, wrapper)


def _wrap_asyncio() -> None:
    # A Runner resets its state before its loop runs: a SIGINT that came earlier would be lost.
    replace_signal(asyncio.runners, at_once=False)
    _wrap(asyncio.runners, "run")
    # Those that make the Runner's context are wrapped too: the outer library may be noted in it.
    _wrap(asyncio.Runner, "__enter__", "get_loop", "run", "close")
    _wrap(asyncio.BaseEventLoop, "run_forever", "run_until_complete", library="asyncio")


def _wrap_uvloop(module: ModuleType) -> None:
    _wrap(module.Loop, "run_forever", "run_until_complete", library="asyncio")
    _wrap(module, "run")


def _wrap_trio(module: ModuleType) -> None:
    _wrap(module, "run", trio=True)
    keep_trio(module)


def _wrap_anyio(module: ModuleType) -> None:
    _wrap(module, "run", trio=True)


#: What is called with these modules when they have been imported.
_AFTER_IMPORT: dict[str, Callable[[ModuleType], None]] = {
    "anyio._core._eventloop": _wrap_anyio,
    "sniffio._impl": keep_sniffio,
    "trio._core._ki": replace_signal,
    "trio._core._run": _wrap_trio,
    "trio._util": replace_signal,
    "uvloop": _wrap_uvloop,
}
