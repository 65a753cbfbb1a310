"""``%time``, ``%%capture`` and ``%rerun`` of code that awaits. Imported on first use."""

from __future__ import annotations

import ast
import inspect
import time
from typing import TYPE_CHECKING, Any

from ..display import ends_with_semicolon
from .await_magics import AwaitMagics
from .known_magics import CAPTURE, RERUN, TIME

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import MagicShell


async def run_timed(
    shell: MagicShell,
    function: Any,
    line: str = "",
    cell: str | None = None,
    local_ns: dict[str, Any] | None = None,
) -> Any:
    """Runs the magic `function`: ``%time`` or ``%%time``."""
    __tracebackhide__ = True
    from IPython.core.magic_arguments import parse_argstring
    from IPython.core.magics.execution import _format_time
    from IPython.utils.timing import clock2

    no_raise_error, code = False, line
    if hasattr(function, "parser"):
        args, extra = parse_argstring(function, line, partial=True)
        no_raise_error, code = getattr(args, "no_raise_error", False), " ".join(extra)
    parts = [] if code and cell else _compile_timed(shell, cell or code)
    if not any(_is_coroutine(part) for part in parts):
        value = function(line, cell, local_ns=local_ns)
        return await value if inspect.isawaitable(value) else value
    value = error = None
    wall, cpu = time.time(), clock2()
    try:
        for part in parts:
            value = eval(part, shell.user_ns, local_ns)
            if _is_coroutine(part):
                value = await value
    except BaseException as raised:  # noqa: BLE001 - raised below
        error = raised
    user, sys_ = (end - start for start, end in zip(cpu, clock2(), strict=True))
    wall = time.time() - wall
    print(f"CPU times: user {_format_time(user)}, sys: {_format_time(sys_)}, total: {_format_time(user + sys_)}")
    print(f"Wall time: {_format_time(wall)}")
    if error is not None and not (no_raise_error and isinstance(error, Exception)):
        raise error
    return await value if inspect.isawaitable(value) else value


def _compile_timed(shell: MagicShell, code: str) -> list[Any]:
    """The code objects to evaluate; the value of the last one is the value of the code. None if the code cannot be
    compiled."""
    try:
        body = _parse(shell, code).body
        parts = []
        last = body[-1] if body else None
        if isinstance(last, ast.Expr):
            body.pop()
        if body:
            parts.append(_compile(shell, ast.Module(body, []), "<timed exec>", "exec"))
        if isinstance(last, ast.Expr):
            parts.append(_compile(shell, ast.Expression(last.value), "<timed eval>", "eval"))
    except Exception:  # noqa: BLE001 - IPython shows it
        return []
    return parts


async def run_captured(shell: MagicShell, function: Any, line: str, cell: str) -> None:
    """Runs the magic `function`: ``%%capture``."""
    __tracebackhide__ = True
    from IPython.core.magic_arguments import parse_argstring

    from ..capture import capture_output

    try:
        is_async = _is_coroutine(_compile(shell, _parse(shell, cell), "<captured>", "exec"))
    except Exception:  # noqa: BLE001 - IPython shows it
        is_async = False
    if not is_async:
        function(line, cell)
        return
    args = parse_argstring(function, line)
    with capture_output(shell, not args.no_stdout, not args.no_stderr, not args.no_display) as captured:
        await shell.run_cell_and_trigger(cell)
    if not args.output:
        return
    if ends_with_semicolon(cell):
        shell.user_ns.pop(args.output, None)
    else:
        shell.user_ns[args.output] = captured


async def rerun(shell: MagicShell, function: Any, line: str) -> None:
    """Runs the magic `function`: ``%rerun``."""
    __tracebackhide__ = True
    for cell in shell.cells_given_by(function, line):
        await shell.run_cell_and_trigger(cell)


def _parse(shell: MagicShell, code: str) -> ast.Module:
    """The syntax tree of a cell, with its magics awaited."""
    tree = shell.transform_ast(shell.compile.ast_parse(shell.transform_cell(code)))
    awaiting: ast.Module = AwaitMagics(shell.awaits).visit(tree)
    return awaiting


def _compile(shell: MagicShell, tree: ast.AST, filename: str, mode: str) -> Any:
    compiler: Any = shell.compile
    with compiler.extra_flags(ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if shell.autoawait else 0):
        return compiler(tree, filename, mode)


def _is_coroutine(code: Any) -> bool:
    return bool(code.co_flags & inspect.CO_COROUTINE)


#: What is called instead of these magics, with the shell and the magic's function before its arguments.
REPLACEMENTS: dict[tuple[str, str], Callable[..., Any]] = {TIME: run_timed, CAPTURE: run_captured, RERUN: rerun}
