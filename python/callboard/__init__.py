"""callboard: a Jupyter kernel for Python, written in Rust as a system of actors."""

from __future__ import annotations

from ._core import __version__

# typing's own would take a fifth of the time until the kernel listens.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .aio.pending import Pending, PendingCancelled, PendingGroup, PendingManager, PendingNotDone, PendingTracker
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

_MODULES = {"Caller": "callers.caller", "StartStopTask": "callers.start_stop"}


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: starting a kernel needs none of them before it listens.
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(f".{_MODULES.get(name, 'aio.pending')}", __name__), name)
