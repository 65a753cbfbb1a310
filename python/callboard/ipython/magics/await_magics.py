"""Awaits magics and shell commands in the syntax tree of a cell."""

from __future__ import annotations

import ast
import contextlib
from typing import TYPE_CHECKING, Any

from ...interrupts.traceback_cutoff import ends_tracebacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The methods of the shell that IPython's syntax calls, and those that are called and awaited instead.
METHODS = {name: f"{name}_async" for name in ("run_line_magic", "run_cell_magic", "system", "getoutput")}


class AwaitMagics(ast.NodeTransformer):
    """Awaits the calls that magics and shell commands have become, where code may await.

    These are statements of their own or the right side of an assignment. The same calls elsewhere are the user's, and
    stay as they are. So do the bodies of a ``def``, of a class and of a ``lambda``.
    """

    def __init__(self, awaits: Callable[[str, list[ast.expr]], bool]) -> None:
        #: Tells whether to await a call of this method of the shell with these arguments.
        self._awaits = awaits
        self._may_await = True

    def generic_visit(self, node: ast.AST) -> ast.AST:
        # Only these fields have statements; expressions need no visit.
        for name in ("body", "handlers", "orelse", "finalbody", "cases"):
            for child in getattr(node, name, ()):
                self.visit(child)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._visit_scope(node, may_await=True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._visit_scope(node, may_await=False)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._visit_scope(node, may_await=False)

    def _visit_scope(self, node: ast.AST, may_await: bool) -> ast.AST:
        before, self._may_await = self._may_await, may_await
        self.generic_visit(node)
        self._may_await = before
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return self._visit_value(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        return self._visit_value(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        return self._visit_value(node)

    def _visit_value(self, node: ast.Expr | ast.Assign | ast.AnnAssign) -> ast.AST:
        if self._may_await:
            match node.value:
                case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython"))) as method) as call:
                    if method.attr in METHODS and self._awaits(method.attr, call.args):
                        method.attr = METHODS[method.attr]
                        node.value = ast.copy_location(ast.Await(call), call)
        return node


class AwaitingCompiler:
    """A compiler that awaits magics where top-level ``await`` is allowed (``%autoawait``).

    Compiles one cell, statement by statement: a magic that one of them defines is known to the next.
    """

    def __init__(self, compiler: Any, awaits: Callable[[str, list[ast.expr]], bool]) -> None:
        self._compiler = compiler
        self._transformer = AwaitMagics(awaits)
        self._flags = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiler, name)

    @contextlib.contextmanager
    def extra_flags(self, flags: int) -> Iterator[None]:
        """Compiles with these flags inside the ``with`` block."""
        before, self._flags = self._flags, self._flags | flags
        try:
            yield
        finally:
            self._flags = before

    @ends_tracebacks
    def __call__(self, source: ast.AST, filename: str, symbol: str) -> Any:
        if self._flags & ast.PyCF_ALLOW_TOP_LEVEL_AWAIT and not _is_simple(source):
            source = self._transformer.visit(source)
        with self._compiler.extra_flags(self._flags):
            return self._compiler(source, filename, symbol)


def _is_simple(source: Any) -> bool:
    """Whether this code certainly calls no magic. A quick check: False does not say that it calls one."""
    match source.body:
        case [ast.Expr() | ast.Assign() | ast.AnnAssign() as statement]:
            return not isinstance(statement.value, ast.Call)
        case [statement]:
            return not (hasattr(statement, "body") or hasattr(statement, "cases"))
    return False
