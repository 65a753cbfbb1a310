"""The kernel, for code that runs in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import Parent
    from .ipython.shell.shell import ZMQInteractiveShell
    from .kernel.kernel import Kernel

__all__ = ["get_ipython", "get_kernel", "get_parent"]


def get_ipython() -> ZMQInteractiveShell:
    """The shell that the calling code belongs to. Raises `RuntimeError` where no kernel runs."""
    from .ipython.shell.shell import ZMQInteractiveShell
    from .ipython.shell.shell import get_ipython as current

    if not hasattr(ZMQInteractiveShell, "_main"):
        msg = "no callboard kernel runs in this process"
        raise RuntimeError(msg)
    return current()


def get_kernel() -> Kernel:
    """The kernel that runs in this process. Raises `RuntimeError` if none does."""
    return get_ipython().kernel


def get_parent() -> dict[str, Any]:
    """The request that the calling code runs for, as a message dict; empty if there is none."""
    from .context import current_parent

    parent: Parent | None = current_parent.get(None)
    return parent.message if parent is not None else {}
