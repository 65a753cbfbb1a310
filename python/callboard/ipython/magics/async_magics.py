"""Runs the magics of a cell, and awaits those that can be awaited."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from IPython.core import magic
from IPython.core.alias import Alias
from IPython.core.interactiveshell import InteractiveShell

from ...context import current_cell
from ...processes import thread_job
from ..display import ends_with_semicolon
from .await_magics import AwaitingCompiler

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import ExecutionResult

    from .base import MagicShell
else:
    MagicShell = object

#: The calling code was started by `run_cell`, which cannot await.
_cannot_await: ContextVar[bool] = ContextVar("callboard_cannot_await", default=False)

#: Collects the cells that `run_cell` gets, to be run later by code that can await.
_collected: ContextVar[list[str] | None] = ContextVar("callboard_collected", default=None)


class AsyncMagics(MagicShell):
    """Runs magics."""

    async def run_ast_nodes(
        self,
        nodelist: list[ast.stmt],
        cell_name: str,
        interactivity: str = "last_expr",
        compiler: Any = compile,
        result: Any = None,
    ) -> Any:
        """Runs the statements of a cell; magics and shell commands in them are awaited."""
        if not _cannot_await.get():
            compiler = AwaitingCompiler(compiler, self.awaits)
        return await super().run_ast_nodes(nodelist, cell_name, interactivity, compiler, result)

    def run_cell(self, raw_cell: str, *args: Any, **kwargs: Any) -> Any:
        """Runs a cell to its end without awaiting: its shell commands block the event loop, and a magic that is a
        coroutine function returns its coroutine. (`run_cell_async` awaits.)"""
        collected = _collected.get()
        if collected is not None:
            collected.append(raw_cell)
            return None
        token = _cannot_await.set(True)
        try:
            return super().run_cell(raw_cell, *args, **kwargs)
        finally:
            _cannot_await.reset(token)

    async def run_cell_and_trigger(
        self, code: str, *, store_history: bool = False, silent: bool = False, cell_id: str | None = None
    ) -> ExecutionResult | None:
        """Does what `run_cell` does, but awaits: transforms and runs a cell, and triggers the events of its end. Calls
        `run_cell` if a library has replaced it, on the shell or a class, unless the cell awaits: as on ipykernel."""
        result = failed = None
        try:
            transformed = self.transform_cell(code)
        except Exception:  # noqa: BLE001 - a transformer of the user's; IPython shows it
            transformed, failed = code, sys.exc_info()
        # Without a call, because each cell comes here.
        is_own = type(self).run_cell is _RUN_CELL and InteractiveShell.run_cell is _BELOW
        if "run_cell" in self.__dict__:
            # Whoever has replaced it may have put it back.
            is_own = is_own and getattr(self.run_cell, "__func__", None) is _RUN_CELL
        if not is_own and not self.should_run_async(code, transformed_cell=transformed, preprocessing_exc_tuple=failed):
            return await self._run_cell_of_library(code, store_history=store_history, silent=silent, cell_id=cell_id)
        options: dict[str, Any] = {
            "store_history": store_history,
            "silent": silent,
            "transformed_cell": transformed,
            "preprocessing_exc_tuple": failed,
            "cell_id": cell_id,
        }
        try:
            other = self.other_runner
            if other is not None and not failed and self.should_run_async(code, transformed_cell=transformed):
                from . import autoawait

                result = await autoawait.run(self, other, code, options)
            else:
                result = await self.run_cell_async(code, **options)
            if (result.error_in_exec is not None or result.error_before_exec is not None) and (
                cell := current_cell.get()
            ):
                # Hooks may show other errors.
                cell.ended_with = cell.failed, cell.error
        finally:
            self.events.trigger("post_execute")
            if not silent:
                self.events.trigger("post_run_cell", result)
        return result

    async def _run_cell_of_library(self, code: str, **options: Any) -> ExecutionResult | None:
        """Calls a `run_cell` of a library's with those of the options that it takes."""
        parameters = inspect.signature(self.run_cell).parameters
        if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            options = {name: value for name, value in options.items() if name in parameters}
        result = self.run_cell(code, **options)
        if inspect.isawaitable(result):
            result = await result
        return result  # type: ignore[no-any-return]

    def cells_given_by(self, magic: Any, line: str) -> list[str]:
        """Calls a magic, and returns the cells that it gives to `run_cell`, which does not run them."""
        cells: list[str] = []
        token = _collected.set(cells)
        try:
            magic(line)
        finally:
            _collected.reset(token)
        return cells

    # -- which magics are awaited -----------------------------------------------------------------------

    def awaits(self, method: str, args: list[ast.expr]) -> bool:
        """Whether to await a call that is in a cell: of a shell command, or of a magic that may return something to
        await. All other calls stay as they are."""
        from . import known_magics

        if method in ("system", "getoutput"):
            # Users may have replaced `system`, by `system_raw` for example.
            return method not in vars(self)
        match args:
            case [ast.Constant(value=str(name)), *_]:
                found = self._find_magic_to_judge("line" if method == "run_line_magic" else "cell", name)
            case _:
                return True
        if found is None or isinstance(found, Alias):
            return True
        # Asked first: reading another attribute of a lazy magic would import it.
        if not isinstance(found, magic.LazyMagic) and inspect.iscoroutinefunction(found):
            return True
        return known_magics.may_be_awaited(known_magics.origin(found))

    def _find_magic_to_judge(self, kind: Any, name: str) -> Any:
        """The function of a magic, behind its aliases; a lazy one only if it need not be imported for that. None if
        there is no magic of this name (yet)."""
        from . import known_magics

        found = None
        for _ in range(10):
            found = self.magics_manager.magics[kind].get(name)
            if known_magics.must_be_imported(found):
                found = self.find_magic(name, kind)
            if not isinstance(found, magic.MagicAlias):
                break
            kind, name = found.magic_kind, found.magic_name
        return found

    # -- running magics ---------------------------------------------------------------------------------

    async def run_line_magic_async(self, magic_name: str, line: str, _stack_depth: int = 1) -> Any:
        """Like `run_line_magic`, but awaits what can be awaited, and waits for commands without blocking the event loop
        (asyncio's or trio's)."""
        __tracebackhide__ = True
        function = self.find_magic(magic_name, "line")
        if function is None:
            return self.run_line_magic(magic_name, line)
        kwargs = {}
        if not getattr(function, magic.MAGIC_NO_VAR_EXPAND_ATTR, False):
            line = self.var_expand(line, _stack_depth)
        if getattr(function, "needs_local_scope", False):
            kwargs["local_ns"] = self.get_local_scope(_stack_depth)
        with self.builtin_trap:
            result = self._awaitable(function)(line, **kwargs)
        if inspect.isawaitable(result):
            result = await result
        if _is_silenced(function, line):
            return None
        return result

    async def run_cell_magic_async(self, magic_name: str, line: str, cell: str) -> Any:
        """Like `run_cell_magic`, but awaits what can be awaited, and waits for commands without blocking the event loop
        (asyncio's or trio's)."""
        __tracebackhide__ = True
        function = self.find_magic(magic_name, "cell")
        if function is None or cell == "":
            return self.run_cell_magic(magic_name, line, cell)
        kwargs = {}
        if not getattr(function, magic.MAGIC_NO_VAR_EXPAND_ATTR, False):
            line = self.var_expand(line, 1)
        if getattr(function, "needs_local_scope", False):
            kwargs["local_ns"] = self.user_ns
        with self.builtin_trap:
            result = self._awaitable(function)(line, cell, **kwargs)
        if inspect.isawaitable(result):
            result = await result
        if _is_silenced(function, cell):
            return None
        return result

    def _awaitable(self, function: Any) -> Callable[..., Any]:
        """The function to call for a magic: its own, or one that does the same and returns an awaitable."""
        params = ""
        for _ in range(10):
            if not isinstance(function, magic.MagicAlias):
                break
            target = self.find_magic(function.magic_name, function.magic_kind)
            if target is None:
                return function  # it raises the error
            params = f"{function.magic_params or ''} {params}".strip()
            function = target
        awaitable = self._replacement(function) or function
        if params:
            return lambda line, *args, **kwargs: awaitable(f"{params} {line}", *args, **kwargs)
        return awaitable

    def _replacement(self, function: Any) -> Callable[..., Any] | None:
        from . import known_magics

        origin = known_magics.origin(function)
        if isinstance(function, Alias) or origin in known_magics.COMMANDS:
            return functools.partial(thread_job.in_thread, function)
        if origin in known_magics.SCRIPTS:
            from .scripts import run_script

            return functools.partial(run_script, self, function)
        if origin in known_magics.RUN_CODE:
            from .code_magics import REPLACEMENTS

            return functools.partial(REPLACEMENTS[origin], self, function)
        return None


#: `run_cell` as long as no library has replaced it: the shell's, and IPython's below it.
_RUN_CELL, _BELOW = AsyncMagics.run_cell, InteractiveShell.run_cell


def _is_silenced(function: Any, code: str) -> bool:
    """Whether the value of a magic is not shown, because its code ends with a semicolon."""
    can_be_silenced = getattr(function, magic.MAGIC_OUTPUT_CAN_BE_SILENCED, False)
    return bool(can_be_silenced and ends_with_semicolon(code))
