"""Magics and shell commands of cells, awaited."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import os
import signal
import sys
import time
from contextvars import ContextVar
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any

from IPython.core import magic
from IPython.core.alias import Alias
from IPython.core.displayhook import DisplayHook
from IPython.core.error import UsageError
from IPython.utils.encoding import DEFAULT_ENCODING
from IPython.utils.process import arg_split, system  # type: ignore[attr-defined]
from IPython.utils.text import LSString, SList

from ...interrupts.traceback_cutoff import ends_tracebacks
from ...processes import command, thread_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from IPython.core.interactiveshell import InteractiveShell

    _Base = InteractiveShell
else:
    _Base = object

#: What IPython's syntax becomes, and what is called and awaited instead.
METHODS = {name: f"{name}_async" for name in ("run_line_magic", "run_cell_magic", "system", "getoutput")}

# IPython's own magics return nothing that is to be awaited. Those below, by module and function, need care.
_OWN = ("IPython", "callboard")
_OSM = "IPython.core.magics.osm"
_SCRIPT = "IPython.core.magics.script"
_EXECUTION = "IPython.core.magics.execution"
_HISTORY = "IPython.core.magics.history"
_PACKAGING = "IPython.core.magics.packaging"
#: They wait for commands.
_COMMANDS = {
    (_OSM, "sx"),
    (_OSM, "sc"),
    ("callboard.ipython.magics.kernel_magics", "man"),
    *((_PACKAGING, name) for name in ("pip", "conda", "mamba", "micromamba", "uv")),
}
_SCRIPTS = {(_SCRIPT, "shebang"), (_SCRIPT, "named_script_magic")}
#: They run code, which may have something to await.
_TIME, _CAPTURE, _RERUN = (_EXECUTION, "time"), (_EXECUTION, "capture"), (_HISTORY, "rerun")
_WITH_CARE = _COMMANDS | _SCRIPTS | {_TIME, _CAPTURE, _RERUN}
_MODULES_WITH_CARE = {module for module, _ in _WITH_CARE}

_LazyMagic: Any = getattr(magic, "LazyMagic", ())

#: The calling code was started by `run_cell`, which cannot wait.
_cannot_wait: ContextVar[bool] = ContextVar("callboard_cannot_wait", default=False)

#: Takes the cells that `run_cell` is to run, for someone who can wait.
_later: ContextVar[list[str] | None] = ContextVar("callboard_later", default=None)

#: Where tracebacks need not go.
_FILES = (__file__, command.__file__, thread_job.__file__)


# -- code -----------------------------------------------------------------------------------------------


class AwaitMagics(ast.NodeTransformer):
    """Awaits the calls that magics and shell commands have become, where code may await.

    These are statements of their own or the right side of an assignment; the same calls elsewhere are the
    user's, and left alone. So is the body of a ``def``, of a class and of a ``lambda``.
    """

    def __init__(self, awaits: Callable[[str, list[ast.expr]], bool]) -> None:
        #: Whether the call of a method of the shell, with these arguments, is to be awaited.
        self._awaits = awaits
        self._may_await = True

    def generic_visit(self, node: ast.AST) -> ast.AST:
        # Statements are in these fields, and expressions need not be visited.
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

    def _visit_value(self, node: Any) -> ast.AST:
        if self._may_await:
            match node.value:
                case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython"))) as method) as call:
                    if method.attr in METHODS and self._awaits(method.attr, call.args):
                        method.attr = METHODS[method.attr]
                        node.value = ast.copy_location(ast.Await(call), call)
        return node


class AwaitingCompiler:
    """A compiler that awaits magics where top-level ``await`` is allowed (``%autoawait``).

    To be used for one cell: statement by statement, so that a magic that one of them defines is known to the next.
    """

    def __init__(self, compiler: Any, awaits: Callable[[str, list[ast.expr]], bool]) -> None:
        self._compiler = compiler
        self._transformer = AwaitMagics(awaits)
        self._flags = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiler, name)

    @contextlib.contextmanager
    def extra_flags(self, flags: int) -> Iterator[None]:
        """Compiles with these flags inside of the ``with``."""
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
    """Whether there is no call in this code that could be that of a magic, as far as a glance tells."""
    match source.body:
        case [ast.Expr() | ast.Assign() | ast.AnnAssign() as statement]:
            return not isinstance(statement.value, ast.Call)
        case [statement]:
            return not (hasattr(statement, "body") or hasattr(statement, "cases"))
    return False


def _is_coroutine(code: Any) -> bool:
    return bool(code.co_flags & inspect.CO_COROUTINE)


# -- the shell ------------------------------------------------------------------------------------------


class AsyncMagics(_Base):
    """The part of a shell that runs magics and shell commands."""

    async def run_ast_nodes(
        self,
        nodelist: list[ast.stmt],
        cell_name: str,
        interactivity: str = "last_expr",
        compiler: Any = compile,
        result: Any = None,
    ) -> Any:
        """Runs the statements of a cell; magics and shell commands in them are awaited."""
        if not _cannot_wait.get():
            compiler = AwaitingCompiler(compiler, self._awaits)
        return await super().run_ast_nodes(nodelist, cell_name, interactivity, compiler, result)

    def run_cell(self, raw_cell: str, *args: Any, **kwargs: Any) -> Any:
        """Runs a cell to its end without waiting for anything: its shell commands hold up the event loop, and a
        magic that is a coroutine function returns its coroutine. (`run_cell_async` waits.)"""
        later = _later.get()
        if later is not None:
            later.append(raw_cell)
            return None
        token = _cannot_wait.set(True)
        try:
            return super().run_cell(raw_cell, *args, **kwargs)
        finally:
            _cannot_wait.reset(token)

    async def _run_inner_cell(self, code: str) -> None:
        """Runs a cell that is part of another one, as `run_cell` does."""
        result = failed = None
        try:
            transformed = self.transform_cell(code)
        except Exception:  # noqa: BLE001 - a transformer of the user's; IPython shows it
            transformed, failed = code, sys.exc_info()
        try:
            result = await self.run_cell_async(code, transformed_cell=transformed, preprocessing_exc_tuple=failed)
        finally:
            self.events.trigger("post_execute")
            self.events.trigger("post_run_cell", result)

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
        """Shows a traceback; one that ends in here ends where the cell's code is."""
        error = sys.exc_info() if exc_tuple is None else exc_tuple
        _cut(error[2])
        super().showtraceback(exc_tuple, *args, **kwargs)

    # -- which magics are awaited -----------------------------------------------------------------------

    def _awaits(self, method: str, args: list[ast.expr]) -> bool:
        """Whether a call that is in a cell is to be awaited: a shell command, or a magic that may return something
        to await. All others are called as ever, so that nothing changes for them."""
        if method in ("system", "getoutput"):
            # Some set `system` to `system_raw`.
            return method not in vars(self)
        match args:
            case [ast.Constant(value=str(name)), *_]:
                found = self._find_magic_to_judge("line" if method == "run_line_magic" else "cell", name)
            case _:
                return True
        if found is None or isinstance(found, Alias):
            return True
        origin = _origin(found)
        # Another attribute of something lazy would have it imported.
        if not isinstance(found, _LazyMagic) and inspect.iscoroutinefunction(found):
            return True
        return origin in _WITH_CARE or origin[0].partition(".")[0] not in _OWN

    def _find_magic_to_judge(self, kind: Any, name: str) -> Any:
        """The function of a magic, behind its aliases; a stand-in if it need not be imported for that. None if it
        is not known (yet)."""
        found = None
        for _ in range(10):
            found = self.magics_manager.magics[kind].get(name)
            if isinstance(found, _LazyMagic) and found.spec.partition(":")[0] in _MODULES_WITH_CARE:
                found = self._find_with_lazy_load(kind, name)
            if not isinstance(found, magic.MagicAlias):
                break
            kind, name = found.magic_kind, found.magic_name
        return found

    def _find_magic_to_run(self, kind: Any, name: str) -> Any:
        function = self.find_magic(name, kind)
        # In older versions of IPython only this imports what is imported lazily.
        return self._find_with_lazy_load(kind, name) if function is None else function

    def _parse_awaiting(self, code: str) -> ast.Module:
        """The statements of a cell, with its magics awaited."""
        tree = self.transform_ast(self.compile.ast_parse(self.transform_cell(code)))
        return AwaitMagics(self._awaits).visit(tree)

    def _compile_awaiting(self, tree: ast.AST, filename: str, mode: str) -> Any:
        with self.compile.extra_flags(ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if self.autoawait else 0):
            return self.compile(tree, filename, mode)

    # -- magics -----------------------------------------------------------------------------------------

    async def run_line_magic_async(self, magic_name: str, line: str, _stack_depth: int = 1) -> Any:
        """Like `run_line_magic`, but awaits what can be awaited, and waits for commands without holding up the
        event loop (asyncio's or trio's)."""
        __tracebackhide__ = True
        function = self._find_magic_to_run("line", magic_name)
        if function is None:
            return self.run_line_magic(magic_name, line)
        kwargs = {}
        if not getattr(function, magic.MAGIC_NO_VAR_EXPAND_ATTR, False):
            line = self.var_expand(line, _stack_depth)
        if getattr(function, "needs_local_scope", False):
            kwargs["local_ns"] = self.get_local_scope(_stack_depth)
        with self.builtin_trap:
            result = self._waiting(function)(line, **kwargs)
        if inspect.isawaitable(result):
            result = await result
        if _is_silenced(function, line):
            return None
        return result

    async def run_cell_magic_async(self, magic_name: str, line: str, cell: str) -> Any:
        """Like `run_cell_magic`, but awaits what can be awaited, and waits for commands without holding up the
        event loop (asyncio's or trio's)."""
        __tracebackhide__ = True
        function = self._find_magic_to_run("cell", magic_name)
        if function is None or cell == "":
            return self.run_cell_magic(magic_name, line, cell)
        kwargs = {}
        if not getattr(function, magic.MAGIC_NO_VAR_EXPAND_ATTR, False):
            line = self.var_expand(line, 1)
        if getattr(function, "needs_local_scope", False):
            kwargs["local_ns"] = self.user_ns
        with self.builtin_trap:
            result = self._waiting(function)(line, cell, **kwargs)
        if inspect.isawaitable(result):
            result = await result
        if _is_silenced(function, cell):
            return None
        return result

    def _waiting(self, function: Any) -> Callable[..., Any]:
        """What is to be called for a magic: itself, or something that does the same and returns an awaitable."""
        params = ""
        for _ in range(10):
            if not isinstance(function, magic.MagicAlias):
                break
            target = self.find_magic(function.magic_name, function.magic_kind)
            if target is None:
                return function  # it says so
            params = f"{function.magic_params or ''} {params}".strip()
            function = target
        origin = _origin(function)
        waiting = function
        if isinstance(function, Alias) or origin in _COMMANDS:
            waiting = functools.partial(thread_job.in_thread, function)
        elif origin in _SCRIPTS:
            waiting = functools.partial(self._script, function)
        elif origin == _TIME:
            waiting = functools.partial(self._time, function)
        elif origin == _CAPTURE:
            waiting = functools.partial(self._capture, function)
        elif origin == _RERUN:
            waiting = functools.partial(self._rerun, function)
        if params:
            return lambda line, *args, **kwargs: waiting(f"{params} {line}", *args, **kwargs)
        return waiting

    async def _time(
        self, function: Any, line: str = "", cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> Any:
        """``%time`` and ``%%time``."""
        __tracebackhide__ = True
        from IPython.core.magic_arguments import parse_argstring
        from IPython.core.magics.execution import _format_time
        from IPython.utils.timing import clock2

        no_raise_error, code = False, line
        if hasattr(function, "parser"):
            args, extra = parse_argstring(function, line, partial=True)
            no_raise_error, code = getattr(args, "no_raise_error", False), " ".join(extra)
        parts = [] if code and cell else self._compile_timed(cell or code)
        if not any(_is_coroutine(part) for part in parts):
            value = function(line, cell, local_ns=local_ns)
            return await value if inspect.isawaitable(value) else value
        value = error = None
        wall, cpu = time.time(), clock2()
        try:
            for part in parts:
                value = eval(part, self.user_ns, local_ns)
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

    def _compile_timed(self, code: str) -> list[Any]:
        """The code objects to be evaluated; the value of the last one is the value of the code. None at all if it
        cannot be compiled."""
        try:
            body = self._parse_awaiting(code).body
            parts = []
            last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
            if body:
                parts.append(self._compile_awaiting(ast.Module(body, []), "<timed exec>", "exec"))
            if last is not None:
                parts.append(self._compile_awaiting(ast.Expression(last.value), "<timed eval>", "eval"))
        except Exception:  # noqa: BLE001 - IPython will show it
            return []
        return parts

    async def _capture(self, function: Any, line: str, cell: str) -> None:
        """``%%capture``."""
        __tracebackhide__ = True
        from IPython.core.magic_arguments import parse_argstring

        from ..capture import capture_output

        try:
            is_async = _is_coroutine(self._compile_awaiting(self._parse_awaiting(cell), "<captured>", "exec"))
        except Exception:  # noqa: BLE001 - IPython will show it
            is_async = False
        if not is_async:
            function(line, cell)
            return
        args = parse_argstring(function, line)
        with capture_output(self, not args.no_stdout, not args.no_stderr, not args.no_display) as captured:
            await self._run_inner_cell(cell)
        if not args.output:
            return
        if DisplayHook.semicolon_at_end_of_expression(cell):
            self.user_ns.pop(args.output, None)
        else:
            self.user_ns[args.output] = captured

    async def _rerun(self, function: Any, line: str) -> None:
        """``%rerun``."""
        __tracebackhide__ = True
        cells: list[str] = []
        token = _later.set(cells)
        try:
            function(line)
        finally:
            _later.reset(token)
        for cell in cells:
            await self._run_inner_cell(cell)

    # -- shell commands ---------------------------------------------------------------------------------

    def system_piped(self, cmd: str) -> None:
        """Runs a shell command, its output in the cell. Leaves the exit code in ``_exit_code``."""
        _refuse_background(cmd)
        if thread_job.is_in_thread():
            self._system(self.var_expand(cmd, depth=1), cmd)
            return
        try:
            code = system(self.var_expand(cmd, depth=1))
        except UnboundLocalError as error:
            # IPython's own, when an interrupt comes while the process is being started.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        self._keep_exit_code(code, cmd)

    system = system_piped

    async def system_async(self, cmd: str) -> None:
        """Like `system`, without holding up the event loop (asyncio's or trio's). When it is cancelled, the command
        ends with all its processes."""
        __tracebackhide__ = True
        _refuse_background(cmd)
        await thread_job.in_thread(self._system, self.var_expand(cmd, depth=1), cmd)

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
        """Runs a shell command and returns its output, as a list of lines (or with ``split=False``, as a string)."""
        if not thread_job.is_in_thread():
            return super().getoutput(cmd, split, depth + 1)
        _refuse_background(cmd)
        return self._getoutput(self.var_expand(cmd, depth + 1), cmd, split)

    async def getoutput_async(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
        """Like `getoutput`, without holding up the event loop (asyncio's or trio's). When it is cancelled, the
        command ends with all its processes."""
        __tracebackhide__ = True
        _refuse_background(cmd)
        return await thread_job.in_thread(self._getoutput, self.var_expand(cmd, depth + 1), cmd, split)

    def _system(self, expanded: str, cmd: str) -> None:
        """Runs a command that finds a terminal, as IPython's ``system`` does."""
        __tracebackhide__ = True
        stream = sys.stdout
        code = self._run([_shell(), "-c", expanded], stream.write, terminal=True, encoding=DEFAULT_ENCODING)
        stream.flush()
        # What a shell says of a command that a signal has ended.
        self._keep_exit_code(128 - code if code > 128 else code, cmd)

    def _getoutput(self, expanded: str, cmd: str, split: bool) -> Any:
        __tracebackhide__ = True
        out: list[str] = []
        err: list[str] | None = [] if getattr(self, "system_raise_on_error", False) else None
        code = self._run(
            [_shell(), "-c", expanded], out.append, err.append if err is not None else None, encoding=DEFAULT_ENCODING
        )
        self._keep_exit_code(code, cmd)
        text = "".join(out + (err or []))
        return SList(text.splitlines()) if split else LSString(text)

    def _run(self, argv: list[str], *args: Any, **kwargs: Any) -> int:
        __tracebackhide__ = True
        try:
            return command.run(argv, *args, **kwargs)
        except KeyboardInterrupt:
            self.user_ns["_exit_code"] = -signal.SIGINT
            raise

    def _keep_exit_code(self, code: int, cmd: str) -> None:
        __tracebackhide__ = True
        self.user_ns["_exit_code"] = code
        if getattr(self, "system_raise_on_error", False) and code != 0:
            raise CalledProcessError(code, cmd)

    # -- scripts ----------------------------------------------------------------------------------------

    async def _script(self, function: Any, line: str, cell: str) -> None:
        """``%%script`` and its like: ``%%bash``, ``%%perl``."""
        __tracebackhide__ = True
        nonlocals = inspect.getclosurevars(function).nonlocals if function.__name__ == "named_script_magic" else {}
        magics = nonlocals.get("self") or getattr(function, "__self__", None)
        if magics is None:
            # Made in a way that is not known here: it does not hold up the event loop, but cannot be stopped.
            await thread_job.in_thread(function, line, cell)
            return
        argv = arg_split(f"{nonlocals.get('script', '')} {line}", posix=True)
        args, program = magics.shebang.parser.parse_known_args(argv)
        if args.bg:
            # Nothing to wait for.
            function(line, cell)
        elif not program:
            msg = "which program? Usage: %%script PROGRAM"
            raise UsageError(msg)
        else:
            await thread_job.in_thread(self._run_script, program, cell, args.out, args.err, args.raise_error)

    def _run_script(self, program: list[str], cell: str, out: str | None, err: str | None, raise_error: bool) -> None:
        __tracebackhide__ = True
        stdin = (cell if cell.endswith("\n") else cell + "\n").encode("utf8", "replace")
        writes = [self._write_of(sys.stdout, out), self._write_of(sys.stderr, err)]
        try:
            code = self._run(program, *writes, stdin=stdin)
        except FileNotFoundError:
            print(f"Couldn't find program: {program[0]!r}")
            return
        self.user_ns["_exit_code"] = code
        if raise_error and code != 0:
            raise CalledProcessError(code, stdin)

    def _write_of(self, stream: Any, variable: str | None) -> Callable[[str], Any]:
        """What takes a piece of output: a stream, or a variable of the user's."""
        if not variable:
            return stream.write
        self.user_ns[variable] = ""

        def append(text: str) -> None:
            self.user_ns[variable] += text

        return append


def _origin(function: Any) -> tuple[str, str]:
    """The module and the name of the function of a magic. Nothing is imported for that."""
    if isinstance(function, _LazyMagic):
        return function.spec.partition(":")[0], ""
    return str(getattr(function, "__module__", "")), str(getattr(function, "__name__", ""))


def _is_silenced(function: Any, code: str) -> bool:
    """Whether the value of a magic is not to be shown, because its code ends with a semicolon."""
    silenceable = getattr(function, magic.MAGIC_OUTPUT_CAN_BE_SILENCED, False)
    return silenceable and DisplayHook.semicolon_at_end_of_expression(code)


def _shell() -> str:
    """The user's shell."""
    import shutil

    name = os.environ.get("SHELL") or "sh"
    path = shutil.which(name)
    if path is None:
        msg = f"there is no shell {name!r} to run a command with: set SHELL to the path of one"
        raise OSError(msg)
    return path


def _cut(traceback: TracebackType | None) -> None:
    """Takes the frames of what is done here off the end of a traceback."""
    last = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename not in _FILES:
            last = traceback
        traceback = traceback.tb_next
    if last is not None:
        last.tb_next = None


def _refuse_background(cmd: str) -> None:
    __tracebackhide__ = True
    if cmd.rstrip().endswith("&"):
        msg = "a background process has no place to print to: use %%bash --bg, or subprocess.Popen"
        raise OSError(msg)
