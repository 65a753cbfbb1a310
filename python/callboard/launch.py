"""Starts a kernel: binds the sockets first, then imports IPython."""

from __future__ import annotations

import os
import sys

from . import _core
from .util import search_path

# Keep imports out of the module: these run before the kernel listens.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# Without one of these modules this Python is not set up for notebooks.
_NEEDED = ("IPython", "comm", "traitlets", "matplotlib_inline")


def main(args: list[str]) -> int:
    """Runs a kernel until it is shut down, then ends the process. Returns an exit code if it cannot start.

    Requests that need no Python are answered from the first line on: the actors are started before IPython is
    imported.
    """
    # Again for programs that call this function.
    search_path.hide_current_folder()
    # Programs look for this name, to know that they run in a notebook.
    sys.argv[:] = [os.path.join(os.path.dirname(__file__), "ipykernel_launcher.py"), *args]
    core = _core.start(args, sys.version)
    with core:
        import gc

        # Modules stay. Collecting garbage while they are imported takes a tenth of the time and finds nothing.
        collects_garbage = gc.isenabled()
        gc.disable()

        from .util import lazy_import

        lazy_import.install()
        from .aio.loops.make import check_backend
        from .interrupts.handler import Interrupts

        interrupts = Interrupts()
        interrupts.install()
        try:
            check_backend(core.shell_caller().backend)
        except RuntimeError as error:
            print(f"callboard: {error}", file=sys.stderr)
            return 1
        try:
            from traitlets import TraitError

            from .app import IPKernelApp
        except ImportError as error:
            if (error.name or "").partition(".")[0] not in _NEEDED:
                raise
            print(
                f"callboard needs IPython, but {sys.executable} cannot import {error.name}. Install it there: "
                f"{sys.executable} -m pip install ipython comm matplotlib-inline",
                file=sys.stderr,
            )
            return 1
        # Takes the objects of the modules out of full collections, which they would make ten times as long.
        gc.freeze()
        if collects_garbage:
            gc.enable()
        app = IPKernelApp.instance(core=core, interrupts=interrupts)
        try:
            app.initialize(core.ipython_args)
        except TraitError as error:
            print(f"callboard: an option or a configuration file has a bad value: {error}", file=sys.stderr)
            return 1
        app.start()
    return _leave()


def _leave() -> NoReturn:
    """Ends the process as ``sys.exit()`` does, but without finalizing the interpreter: that takes a second after a
    single completion, and a daemon thread that is still in C code can crash it. The shutdown deadline (Rust) ends the
    process if this hangs."""
    import atexit
    import contextlib
    import threading

    # Waits for threads that are not daemons, as the interpreter does before it runs atexit handlers.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _core.end_group()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(0)
