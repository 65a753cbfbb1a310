"""Structural types of the objects that higher layers pass to lower ones.

Import it under `TYPE_CHECKING` only, so that it does not slow the start of a kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractContextManager
    from contextvars import Token
    from types import FrameType

    from . import _core

__all__ = ["CellLike", "KernelServices", "ShellLike"]


class TagsLike(Protocol):
    """`callboard.cells.tags.Tags`."""

    @property
    def raises_exception(self) -> bool: ...

    @property
    def suppress_error(self) -> bool: ...


class TaskLike(Protocol):
    """`callboard.aio.loops.base.Task`."""

    raw: Any

    @property
    def cancel_has_come(self) -> bool: ...


class CellLike(Protocol):
    """`callboard.cells.cell.Cell`: a cell that has begun and not ended."""

    request: _core.Request
    parent: _core.Parent
    code: str
    number: int
    execution_count: int
    failed: BaseException | None
    error: dict[str, Any] | None
    replaced: tuple[BaseException | None, BaseException | None]
    ended_with: tuple[BaseException | None, dict[str, Any] | None]
    display_error: dict[str, Any] | None
    shown: tuple[BaseException | None, dict[str, Any]]
    exec_results: tuple[Any, Any] | None
    payloads: list[dict[str, Any]]

    @property
    def interrupted(self) -> bool: ...

    @property
    def timed_out(self) -> bool: ...

    @property
    def is_abandoned(self) -> bool: ...

    @property
    def shell(self) -> ShellLike: ...

    @property
    def tags(self) -> TagsLike: ...

    @property
    def task(self) -> TaskLike: ...

    def showing(self) -> AbstractContextManager[None]: ...

    def notice_timeout(self) -> None: ...

    def timeout_error(self) -> TimeoutError: ...

    def mark_interrupted(self) -> None: ...

    def cancel(self) -> None: ...


class ShellLike(Protocol):
    """`callboard.ipython.shell.shell.ZMQInteractiveShell`."""

    subshell_id: str | None
    kernel: KernelServices
    compile: Any
    displayhook: Any
    input_transformer_manager: Any

    @property
    def parent_request(self) -> _core.Parent | None: ...

    def get_parent(self) -> dict[str, Any]: ...

    def set_parent(self, parent: dict[str, Any]) -> None: ...

    def set_thread_parent(self, parent: dict[str, Any]) -> Token[_core.Parent | None]: ...

    def reset_thread_parent(self, token: Token[_core.Parent | None]) -> None: ...

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None: ...

    def transform_cell(self, raw_cell: str) -> str: ...

    def run_cell_async(
        self,
        raw_cell: str,
        *,
        store_history: bool = ...,
        silent: bool = ...,
        transformed_cell: str | None = ...,
        preprocessing_exc_tuple: Any = ...,
        cell_id: str | None = ...,
    ) -> Coroutine[Any, Any, Any]: ...

    async def run_cell_and_trigger(
        self, code: str, *, store_history: bool = False, silent: bool = False, cell_id: str | None = None
    ) -> Any: ...

    def show_plainly(self, error: BaseException) -> None: ...

    def show_unreplaced(self, error: BaseException) -> None: ...

    def is_shown_by_user(self, error: BaseException) -> bool: ...

    def user_expressions(self, expressions: dict[str, str]) -> dict[str, Any]: ...


class KernelServices(Protocol):
    """`callboard.kernel.kernel.IPythonKernel`: what shells and cells ask of it."""

    core: _core.Kernel
    #: The `Caller` of the main thread.
    main: Any
    #: Whether it answers requests yet.
    is_serving: bool

    def stop_soon(self) -> None: ...

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, str] | None = None,
        *,
        cell_meta: dict[str, Any] | None = None,
    ) -> dict[str, Any]: ...


class ThreadInterruptsLike(Protocol):
    """`callboard.kernel.thread_interrupts.ThreadInterrupts`."""

    def interrupt_all(self) -> None: ...

    def interrupt_again(self) -> bool: ...


class ShellsLike(Protocol):
    """`callboard.kernel.shells.Shells`."""

    main: Any

    def all(self) -> list[Any]: ...

    def follow(self, func: Callable[[Any], None] | None) -> None: ...


class DebuggerLike(Protocol):
    """`callboard.debugger.session.Session`."""

    def has_control(self, frame: FrameType | None) -> bool: ...

    def interrupt(self, ident: int) -> bool: ...
