"""The table of everything that callboard replaces in other libraries and in the standard library.

A row of `TABLE` says what is replaced, why, and until when. The replacement is in the module that needs it, which puts
it in place with `put`: what has no row cannot be replaced. `restore` undoes everything, last replacement first.

Importing callboard replaces nothing. On Python 3.11 the first Caller replaces ``Thread.start``; everything else is
replaced by a kernel when it starts, or later: when the library in question is imported, or first needed.

Not in the table, because nothing of another library is replaced: the environment variables of `init_environment`, the
switch interval while a request is answered, and ``gc.freeze``.
"""

from __future__ import annotations

import logging
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .util.lazy_import import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger("callboard.patches")

#: The target had no value of its own.
_NOTHING: Any = object()


class Patch:
    """A row of the table: one attribute of a module, class or object."""

    def __init__(
        self,
        target: str,
        shape: str,
        reason: str,
        *,
        until: str,
        upstream: str = "none known",
        only_before: tuple[int, int] | None = None,
        in_all_modules: bool = False,
    ) -> None:
        #: ``package.module:Class.attribute``.
        self.target = target
        #: What the replacement was written for: the type of the target, and the parameters of a function if the
        #: replacement depends on them. A test compares it with the installed library.
        self.shape = shape
        self.reason = reason
        #: When the row can be removed.
        self.until = until
        #: An issue or a page of the library's.
        self.upstream = upstream
        #: The first version of Python that needs no replacement.
        self.only_before = only_before
        #: Also replaced in the modules that have imported it from its own.
        self.in_all_modules = in_all_modules
        self.module, _, path = target.partition(":")
        self.path, _, self.name = path.rpartition(".")

    @property
    def is_needed(self) -> bool:
        """Whether this version of Python needs the replacement."""
        return self.only_before is None or sys.version_info < self.only_before

    def fits(self, function: Any) -> bool:
        """Whether a function has the parameters of `shape`, all of them positional."""
        code = function.__code__
        return self.shape == f"function({', '.join(code.co_varnames[: code.co_argcount])})"

    def owner(self) -> Any:
        """The module or class that has the attribute."""
        owner: Any = sys.modules.get(self.module) or import_module(self.module)
        for name in self.path.split(".") if self.path else ():
            owner = getattr(owner, name)
        return owner

    def read(self, owner: Any) -> Any:
        """What is there now; for a class what its own ``__dict__`` has, and not what it inherits."""
        if isinstance(owner, type):
            return owner.__dict__.get(self.name, _NOTHING)
        return getattr(owner, self.name, _NOTHING)

    def write(self, owner: Any, value: Any, instead_of: Any) -> None:
        """Puts a value there, instead of this one."""
        if value is _NOTHING:
            delattr(owner, self.name)
        else:
            setattr(owner, self.name, value)
        if not self.in_all_modules or value is _NOTHING:
            return
        for module in list(sys.modules.values()):
            if type(module) is LazyModule:
                continue
            if getattr(module, "__dict__", {}).get(self.name) is instead_of:
                setattr(module, self.name, value)

    def __str__(self) -> str:
        return f"{self.target} ({self.shape})\n  {self.reason}\n  until: {self.until}\n  upstream: {self.upstream}"


class HandlerPatch(Patch):
    """A row for the handler of a signal. Put in place on the main thread."""

    def owner(self) -> signal.Signals:
        return signal.Signals[self.name]

    def read(self, owner: Any) -> Any:
        return signal.getsignal(owner)

    def write(self, owner: Any, value: Any, instead_of: Any) -> None:
        # None: it was not installed by Python code.
        if value is not None:
            signal.signal(owner, value)


class FinderPatch(Patch):
    """A row for an entry of ``sys.meta_path``."""

    def read(self, owner: Any) -> Any:
        return _NOTHING

    def write(self, owner: Any, value: Any, instead_of: Any) -> None:
        if value is not _NOTHING:
            sys.meta_path.insert(0, value)
        elif instead_of in sys.meta_path:
            sys.meta_path.remove(instead_of)


class Applied:
    """A replacement that is in place."""

    __slots__ = ("before", "owner", "patch", "replacement")

    def __init__(self, patch: Patch, owner: Any, before: Any, replacement: Any) -> None:
        self.patch = patch
        self.owner = owner
        self.before = before
        self.replacement = replacement

    def is_covered(self) -> bool:
        """Whether something else has been put in its place since."""
        return not isinstance(self.patch, FinderPatch) and self.patch.read(self.owner) is not self.replacement

    def undo(self, *, by_force: bool = False) -> bool:
        """Puts back what was there before; with `by_force` even if something else has been put there since. Returns
        whether it did."""
        if self in _applied:
            _applied.remove(self)
        if self.is_covered() and not by_force:
            return False
        self.patch.write(self.owner, self.before, self.replacement)
        return True


#: What is in place, in the order in which it was put there.
_applied: list[Applied] = []


def put(target: str, replacement: Any, of: Any = None) -> Applied:
    """Puts something in the place of a target of the table: that of this object, if the target is an attribute of
    objects. Raises `LookupError` if the table has no such row, or this version of Python does not need it."""
    patch = TABLE[target]
    if not patch.is_needed:
        raise LookupError(f"Python {sys.version_info[0]}.{sys.version_info[1]} does not need this patch: {patch}")
    owner = patch.owner() if of is None else of
    before = patch.read(owner)
    patch.write(owner, replacement, before)
    applied = Applied(patch, owner, before, replacement)
    _applied.append(applied)
    return applied


def wrap(target: str, make: Callable[[Any], Any]) -> Applied:
    """Puts ``make(what is there now)`` in the place of a target of the table; see `put`."""
    patch = TABLE[target]
    return put(target, make(getattr(patch.owner(), patch.name)))


def applied(target: str) -> list[Applied]:
    """The replacements of a target that are in place, the first one first."""
    return [each for each in _applied if each.patch.target == target]


def restore() -> list[Applied]:
    """Undoes all replacements, the last one first. Leaves, and logs, what another library has replaced in its turn;
    returns these."""
    left = [each for each in reversed(_applied[:]) if not each.undo()]
    for each in left:
        logger.warning("%s is not restored: something else has replaced it since", each.patch.target)
    return left


def _table(rows: Iterable[Patch]) -> dict[str, Patch]:
    return {row.target: row for row in rows}


_NESTED = "Starts an event loop also where one runs: in a cell."
_SIGNAL = "Handles SIGINT only if nothing else does; for a loop that runs in a cell, the kernel's handler is nothing."
_OFFICIAL = "never: Python has it to be replaced"
_CAPTURED = "While a cell captures its output, other cells go on printing."
_EACH_SHELL = "Returns the shell of the calling cell or thread: subshells have shells of their own."
_ONE_FOR_ALL = "Is the same for all cells, which run at the same time: IPython sets and resets it around each of them."
_CPYTHON_NESTED = "https://github.com/python/cpython/issues/66435"
_TRIO_NESTED = "https://github.com/python-trio/trio/issues/608"
_SLOW_TRACEBACKS = "https://github.com/ipython/ipython/issues/13731"

#: The rows, by target.
TABLE: dict[str, Patch] = _table(
    [
        # -- the program that Python runs ---------------------------------------------------------------------------
        HandlerPatch(
            "signal:SIGINT",
            "Signals",
            "Interrupts the cells that run, and not the event loop.",
            until=_OFFICIAL,
        ),
        HandlerPatch(
            "signal:SIGURG",
            "Signals",
            "Repeats a SIGINT that Python code has not noticed; only where SIGURG has no handler (Go's runtime has).",
            until="a signal that comes just before a system call cuts it short",
        ),
        Patch(
            "sys:unraisablehook",
            "builtin_function_or_method",
            "A KeyboardInterrupt that Python swallows, in a finalizer or a callback of C code, is delivered again.",
            upstream="https://github.com/python/cpython/issues/95959",
            until=_OFFICIAL,
        ),
        Patch("sys:excepthook", "builtin_function_or_method", _ONE_FOR_ALL, until=_OFFICIAL),
        Patch("sys:displayhook", "builtin_function_or_method", f"{_ONE_FOR_ALL} {_CAPTURED}", until=_OFFICIAL),
        Patch("sys:stdout", "TextIOWrapper", f"What cells print appears in the frontend. {_CAPTURED}", until=_OFFICIAL),
        Patch("sys:stderr", "TextIOWrapper", f"What cells print appears in the frontend. {_CAPTURED}", until=_OFFICIAL),
        FinderPatch(
            "sys:meta_path",
            "list",
            "The rows of anyio, trio and uvloop are put in place when a cell imports these.",
            until="these rows are gone",
        ),
        Patch(
            "builtins:input",
            "builtin_function_or_method",
            "Asks in the frontend.",
            until="never: ipykernel and other kernels replace it as well",
        ),
        Patch(
            "getpass:getpass",
            "function",
            "Asks in the frontend.",
            until="never: ipykernel and other kernels replace it as well",
        ),
        Patch("builtins:exit", "Quitter", "Ends the kernel when the cell has ended, by a reply to it.", until="never"),
        Patch("builtins:quit", "Quitter", "Ends the kernel when the cell has ended, by a reply to it.", until="never"),
        Patch("builtins:get_ipython", "absent", _EACH_SHELL, until="never: IPython sets and resets it around cells"),
        Patch(
            "faulthandler:enable",
            "builtin_function_or_method",
            "A crash is reported on the terminal, not in a pipe that is not read any more.",
            until="never",
        ),
        Patch(
            "faulthandler:register",
            "builtin_function_or_method",
            "Tracebacks are written to the terminal, not to a pipe that is not read any more.",
            until="never",
        ),
        # -- threads ------------------------------------------------------------------------------------------------
        Patch(
            "threading:Thread.start",
            "function(self)",
            "A thread belongs to the request that has started it. Before Python 3.12, an exception raised in a thread "
            "that starts another one must not be raised in the new one, which has the same number at first.",
            upstream="https://github.com/python/cpython/pull/130010 (thread_inherit_context, an option of Python 3.14)",
            until="Python 3.12 is the oldest, for exceptions; threads inherit contexts by default, for requests",
        ),
        Patch(
            "concurrent.futures.thread:ThreadPoolExecutor.submit",
            "function(self, fn, /, *args, **kwargs)",
            "A call that is given to a thread pool belongs to the request that has given it.",
            upstream="https://github.com/python/cpython/issues/78195",
            until="thread pools run calls in the context of the caller",
        ),
        Patch(
            "trio.lowlevel:spawn_system_task",
            "function(async_fn, *args, name, context)",
            "A system task of the user's belongs to the request that has started it, and what it raises is shown "
            "there: trio ends with TrioInternalError otherwise.",
            upstream="https://github.com/python-trio/trio/issues/1056",
            until="trio survives exceptions of system tasks (trio.abc.Instrument.task_spawned can hand on the request)",
        ),
        # -- syntax trees -------------------------------------------------------------------------------------------
        Patch(
            "ast:parse",
            "function",
            "Before Python 3.12, making two syntax trees at once fails: AST constructor recursion depth mismatch.",
            upstream="https://github.com/python/cpython/issues/106905",
            until="Python 3.12 is the oldest",
            only_before=(3, 12),
        ),
        # -- event loops in cells -----------------------------------------------------------------------------------
        *(
            Patch(
                target,
                "function",
                _NESTED,
                upstream=_CPYTHON_NESTED,
                until="asyncio can run a loop while another one runs in the thread",
                in_all_modules=target == "asyncio:run",
            )
            for target in (
                "asyncio:run",
                "asyncio:Runner.__enter__",
                "asyncio:Runner.get_loop",
                "asyncio:Runner.run",
                "asyncio:Runner.close",
                "asyncio:BaseEventLoop.run_forever",
                "asyncio:BaseEventLoop.run_until_complete",
            )
        ),
        Patch(
            "uvloop:run",
            "function",
            _NESTED,
            upstream=_CPYTHON_NESTED,
            until="asyncio can run a loop while another one runs in the thread",
            in_all_modules=True,
        ),
        *(
            Patch(
                target,
                "cython_function_or_method",
                _NESTED,
                upstream=_CPYTHON_NESTED,
                until="asyncio can run a loop while another one runs in the thread",
            )
            for target in ("uvloop:Loop.run_forever", "uvloop:Loop.run_until_complete")
        ),
        Patch(
            "trio:run",
            "function",
            _NESTED,
            upstream=_TRIO_NESTED,
            until="trio can run while another loop runs in the thread",
            in_all_modules=True,
        ),
        Patch(
            "anyio._core._eventloop:run",
            "function",
            _NESTED,
            upstream=_CPYTHON_NESTED,
            until="asyncio and trio can run while another loop runs in the thread",
            in_all_modules=True,
        ),
        *(
            Patch(target, "module", _SIGNAL, until="the rows of asyncio.run and trio.run are gone")
            for target in ("asyncio.runners:signal", "trio._core._ki:signal", "trio._util:signal")
        ),
        Patch(
            "trio_asyncio._loop:_FakedPolicy.policy",
            "NoneType",
            "Importing trio-asyncio has loops that are not trio's run in trio: asyncio keeps the policy that it had.",
            upstream="https://github.com/python-trio/trio-asyncio/issues/13",
            until="importing trio-asyncio leaves asyncio alone",
        ),
        # -- IPython and comm ---------------------------------------------------------------------------------------
        Patch(
            "IPython.core.interactiveshell:InteractiveShell.initialized",
            "classmethod",
            "IPython.get_ipython() asks it: there is a shell, also for the thread of a subshell.",
            until="IPython asks a ContextVar which shell there is",
        ),
        Patch(
            "IPython.core.interactiveshell:InteractiveShell.instance",
            "classmethod",
            _EACH_SHELL,
            until="IPython asks a ContextVar which shell there is",
        ),
        Patch(
            "IPython.core.interactiveshell:InteractiveShell.display_pub",
            "absent",
            _CAPTURED,
            until="IPython captures the output of the calling context only",
        ),
        *(
            Patch(
                target,
                "function",
                "Comms of libraries are those of this kernel.",
                upstream="https://github.com/ipython/comm#readme (the way for kernels to do it)",
                until="never",
            )
            for target in ("comm:create_comm", "comm:get_comm_manager")
        ),
        # -- tracebacks ---------------------------------------------------------------------------------------------
        *(
            Patch(
                f"{module}:Source.{name}",
                "dict or absent",
                "Keeps the newest entries: the cache keeps every piece of code that has been in a traceback.",
                until="executing bounds its caches",
            )
            for module in ("executing", "stack_data")
            for name in ("__executing_cache", "__source_cache_with_lines")
        ),
        Patch(
            "stack_data:style_with_executing_node",
            "function(style, modifier)",
            "Makes the class of a style once, and not for each traceback.",
            upstream=_SLOW_TRACEBACKS,
            until="stack_data keeps it",
        ),
        Patch(
            "stack_data.core:_pygmented_with_ranges",
            "function(formatter, code, ranges)",
            "Makes the class of the lexer once, and not for each frame.",
            upstream=_SLOW_TRACEBACKS,
            until="stack_data keeps it",
        ),
        Patch(
            "pygments.formatters.terminal256:Terminal256Formatter._setup_styles",
            "function(self)",
            "Makes the escape sequences of a style once, and not for each traceback.",
            upstream=_SLOW_TRACEBACKS,
            until="Pygments or stack_data keeps them",
        ),
    ]
)
