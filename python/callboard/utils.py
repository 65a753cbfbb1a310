"""Public functions for code that runs in the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from . import context

if TYPE_CHECKING:
    from ._core import Parent
    from .ipython.shell.shell import ZMQInteractiveShell
    from .kernel.kernel import IPythonKernel

__all__ = ["get_ipython", "get_kernel", "get_parent", "released_output"]

released_output = context.released_output


def get_ipython() -> ZMQInteractiveShell:
    """The shell that the calling code belongs to. Raises `RuntimeError` where no kernel runs."""
    return cast("ZMQInteractiveShell", context.get_ipython())


def get_kernel() -> IPythonKernel:
    """The kernel that runs in this process. Raises `RuntimeError` if none does."""
    return cast("IPythonKernel", get_ipython().kernel)


def get_parent() -> dict[str, Any]:
    """The request that the calling code runs for, as a message dict; empty if there is none."""
    parent: Parent | None = context.current_parent.get(None)
    return {} if parent is None or parent.is_over else parent.message
