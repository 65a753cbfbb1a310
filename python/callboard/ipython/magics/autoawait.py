"""Code that awaits on another event loop than that of its Caller, after ``%autoawait trio``. Imported on first use."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from ...aio.loops.make import check_guest
from ...callers.caller import Caller
from ...context import part_of_cell
from .kernel_magics import end_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import ExecutionResult

    from .base import MagicShell


def runner_of(name: str) -> Any:
    """IPython's function that runs a coroutine on this event loop: what ``%autoawait`` sets."""
    return InteractiveShell.loop_runner_map[name][0]


def backend_of(runner: Any) -> str | None:
    """The backend that a function runs coroutines on; None for another library, or a function of the user's."""
    return next((name for name in ("asyncio", "trio") if runner_of(name) is runner), None)


def check(runner: Any, host: str) -> None:
    """Raises `UsageError` if code cannot be run by this function in a thread whose event loop is that of `host`."""
    backend = backend_of(runner)
    try:
        if backend is not None and backend != host:
            check_guest(host, backend)
        elif runner is runner_of("curio"):
            import curio  # type: ignore[import-not-found]  # noqa: F401
    except (ImportError, RuntimeError) as error:
        raise UsageError(str(error)) from error


async def run(shell: MagicShell, runner: Callable[[Any], Any], code: str, options: dict[str, Any]) -> ExecutionResult:
    """Runs code with ``run_cell_async`` by this function, as a part of the cell: asyncio and trio as guests in this
    thread, whose event loop goes on; anything else blocks it."""
    part = functools.partial(_run_part, shell, code, options)
    backend = backend_of(runner)
    if backend is None:
        return cast("ExecutionResult", runner(part()))
    caller = Caller()
    if caller.backend == backend:
        return await shell.run_cell_async(code, **options)
    pen = caller.call_using_backend(backend, part)
    await end_of(pen)
    return cast("ExecutionResult", pen.result())


async def _run_part(shell: MagicShell, code: str, options: dict[str, Any]) -> ExecutionResult:
    part_of_cell.set(True)
    return await shell.run_cell_async(code, **options)
