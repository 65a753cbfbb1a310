"""callboard: a Jupyter kernel for Python, written in Rust as a system of actors."""

# The first step of a kernel: no module of the standard library is imported before it. The program is the command
# `callboard`, or `python -m`, which calls itself "-m" while it looks for the module.
import sys

_program = (getattr(sys, "argv", None) or [""])[0]
if _program.endswith("/callboard") or (
    _program == "-m" and not {"callboard", "callboard.doctor"}.isdisjoint(getattr(sys, "orig_argv", ()))
):
    from .util.search_path import hide_current_folder

    hide_current_folder()

try:
    from ._core import __version__
except ImportError as error:
    from .util.missing_core import version_or_exit

    __version__ = version_or_exit(error)  # type: ignore[misc]

# typing's own would take a fifth of the time until the kernel listens.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .aio.group import PendingGroup
    from .aio.pending import Pending, PendingCancelled, PendingNotDone
    from .aio.tracker import PendingManager, PendingTracker
    from .callers.caller import Caller
    from .callers.start_stop import StartStopTask

__all__ = [
    "Caller",
    "Pending",
    "PendingCancelled",
    "PendingGroup",
    "PendingManager",
    "PendingNotDone",
    "PendingTracker",
    "StartStopTask",
    "__version__",
]

_MODULES = {
    "Caller": "callers.caller",
    "Pending": "aio.pending",
    "PendingCancelled": "aio.pending",
    "PendingGroup": "aio.group",
    "PendingManager": "aio.tracker",
    "PendingNotDone": "aio.pending",
    "PendingTracker": "aio.tracker",
    "StartStopTask": "callers.start_stop",
}


def __getattr__(name: str) -> "Any":
    # Imported lazily: a kernel listens before it needs any of them.
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    if name in ("PendingGroup", "StartStopTask"):
        # They ask which Callers there are: see `aio.tracker.caller_of_thread`.
        import_module(".callers.caller", __name__)
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
