"""The table of everything that callboard replaces in other libraries and in the standard library.

A row of `TABLE` says what is replaced, why, and until when. The module that needs a replacement defines it and applies
it with `put` or `wrap`; a target without a row cannot be replaced. `restore` undoes all replacements, last one first.

Importing callboard replaces nothing. On Python 3.11 and on free-threaded Pythons the first Caller replaces
``Thread.start``; a kernel replaces the rest when it starts, or when the library is imported or first needed.

Not in the table: what a kernel sets for the whole process without replacing anything, which is environment variables
(`init_environment`), ``gc.freeze``, and the switch interval while it answers a request.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from .patch import FinderPatch, HandlerPatch, ModulesPatch, Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger("callboard.patches")


class Applied:
    """A replacement that is in effect."""

    __slots__ = ("before", "owner", "patch", "replacement")

    def __init__(self, patch: Patch, owner: Any, before: Any, replacement: Any) -> None:
        self.patch = patch
        self.owner = owner
        self.before = before
        self.replacement = replacement

    def is_covered(self) -> bool:
        """Whether the target has been set to something else since."""
        return (
            not isinstance(self.patch, FinderPatch | ModulesPatch)
            and self.patch.read(self.owner) is not self.replacement
        )

    def undo(self, *, by_force: bool = False) -> bool:
        """Restores the value from before. Returns False, and restores nothing, if the replacement is covered; unless
        `by_force` is set."""
        if self in _applied:
            _applied.remove(self)
        if self.is_covered() and not by_force:
            return False
        self.patch.write(self.owner, self.before, self.replacement)
        return True


#: The replacements in effect, oldest first.
_applied: list[Applied] = []


def put(target: str, replacement: Any, of: Any = None) -> Applied:
    """Replaces a target of the table; `of` is the object, if the target is an attribute of objects of a class. Raises
    `LookupError` if the table has no such row, or this version of Python does not need it."""
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
    """Replaces a target of the table by ``make(present value)``; see `put`."""
    return put(target, make(present(target)))


def present(target: str) -> Any:
    """Returns the present value of a target of the table, also an inherited one. Imports its module. Raises
    `ImportError` or `AttributeError` if it is not there."""
    patch = TABLE[target]
    return getattr(patch.owner(), patch.name)


def applied(target: str) -> list[Applied]:
    """Returns the replacements of a target that are in effect, oldest first."""
    return [each for each in _applied if each.patch.target == target]


def restore() -> list[Applied]:
    """Undoes all replacements, last one first. Leaves those whose target another library has replaced since: logs and
    returns them."""
    left = [each for each in reversed(_applied[:]) if not each.undo()]
    for each in left:
        logger.warning("%s is not restored: something else has replaced it since", each.patch.target)
    return left


def _table(rows: Iterable[Patch]) -> dict[str, Patch]:
    return {row.target: row for row in rows}


_NESTED = "Starts an event loop also where one runs, which is the case in a cell."
_SIGNAL = "A loop that a cell runs handles SIGINT only if it finds the default handler: the kernel's is hidden from it."
_OFFICIAL = "never: Python provides it for programs to set"
_CAPTURED = "While a cell captures its output, other cells go on printing."
_EACH_SHELL = "Returns the shell of the calling cell or thread: each subshell has its own."
_ONE_FOR_ALL = "One value for all cells, which run at the same time: IPython sets and resets it around each cell."
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
            "Repeats a SIGINT that Python code has not noticed; only if SIGURG has no handler (Go's runtime sets one).",
            until="a signal that comes just before a system call cuts it short",
        ),
        *(
            Patch(
                target,
                "function",
                "Keeps what handlers of the user's raise out of the event loop and the kernel; hides that from them.",
                upstream="https://github.com/python/cpython/issues/95959",
                until="Python runs handlers where programs say that they may raise",
            )
            for target in ("signal:signal", "signal:getsignal")
        ),
        Patch(
            "sys:unraisablehook",
            "builtin_function_or_method",
            "Delivers a KeyboardInterrupt again that was raised in a finalizer or a callback of C code, and swallowed.",
            upstream="https://github.com/python/cpython/issues/95959",
            until=_OFFICIAL,
        ),
        Patch("sys:excepthook", "builtin_function_or_method", _ONE_FOR_ALL, until=_OFFICIAL),
        Patch("sys:displayhook", "builtin_function_or_method", f"{_ONE_FOR_ALL} {_CAPTURED}", until=_OFFICIAL),
        Patch("sys:stdout", "TextIOWrapper", f"Publishes what cells print. {_CAPTURED}", until=_OFFICIAL),
        Patch("sys:stderr", "TextIOWrapper", f"Publishes what cells print. {_CAPTURED}", until=_OFFICIAL),
        FinderPatch(
            "sys:meta_path",
            "list",
            "Applies rows of libraries when these are imported; finds what the kernel imports late without the folders "
            "that cells have put on sys.path.",
            until="these rows are gone, and nothing is imported late",
        ),
        ModulesPatch(
            "sys:modules",
            "dict",
            "Libraries ask ipykernel whether they are in a notebook, and compare classes with its. Importing the "
            "installed one would send the messages of all comms to a kernel that does not run.",
            until="never",
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
        *(
            Patch(
                target,
                "Quitter",
                "Raises SystemExit without closing standard input. IPython hides it while a cell runs.",
                until="IPython leaves it alone, and closing standard input does no harm",
            )
            for target in ("builtins:exit", "builtins:quit")
        ),
        Patch("builtins:get_ipython", "absent", _EACH_SHELL, until="never: IPython sets and resets it around cells"),
        Patch(
            "faulthandler:enable",
            "builtin_function_or_method",
            "Reports a crash on the terminal: descriptor 2 is a pipe that is not read any more.",
            until="never",
        ),
        Patch(
            "faulthandler:register",
            "builtin_function_or_method",
            "Writes tracebacks to the terminal: descriptor 2 is a pipe that may not be read any more.",
            until="never",
        ),
        # -- threads ------------------------------------------------------------------------------------------------
        Patch(
            "threading:Thread.start",
            "function(self)",
            "A thread belongs to the request that has started it. Before Python 3.12, it also keeps exceptions that "
            "are raised in the starting thread out of the new one, which has the same number at first. Without the "
            "GIL, it keeps them out of the wait for the thread's begin, where they would end as RuntimeError.",
            upstream="https://github.com/python/cpython/pull/130010 (thread_inherit_context, an option of Python 3.14)",
            until="Python 3.12 is the oldest, and threading.Condition.wait stands exceptions of other threads, for "
            "exceptions; threads inherit contexts by default, for requests",
        ),
        Patch(
            "concurrent.futures.thread:ThreadPoolExecutor.submit",
            "function(self, fn, /, *args, **kwargs)",
            "A call that is submitted to a thread pool belongs to the request that has submitted it.",
            upstream="https://github.com/python/cpython/issues/78195",
            until="thread pools run calls in the context of the caller",
        ),
        Patch(
            "trio.lowlevel:spawn_system_task",
            "function(async_fn, *args, name, context)",
            "A system task belongs to the request that has started it, and its exceptions are shown there: trio ends "
            "with TrioInternalError otherwise.",
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
        *(
            Patch(
                f"{module}:apply",
                "function",
                "Leaves asyncio alone where it cannot patch the loop, which is uvloop's. Nested loops work there.",
                upstream="https://github.com/erdewit/nest_asyncio/issues/28",
                until="it looks at the loop before it replaces asyncio.run",
            )
            for module in ("nest_asyncio", "nest_asyncio2")
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
            "Importing trio-asyncio makes all asyncio loops run in trio: asyncio gets back the policy that it had.",
            upstream="https://github.com/python-trio/trio-asyncio/issues/13",
            until="importing trio-asyncio leaves asyncio alone",
        ),
        # -- debuggers ----------------------------------------------------------------------------------------------
        *(
            Patch(
                target,
                shape,
                "An interrupt at the debugger's prompt ends it; when `%debug` uses it again, it stops again.",
                upstream="https://github.com/ipython/ipykernel/pull/459",
                until="pdb ends when its prompt is interrupted",
            )
            for target, shape in (
                ("IPython.core.debugger:Pdb", "type"),
                ("IPython.core.debugger:InterruptiblePdb.reset", "function(self)"),
                ("pdb:Pdb", "type"),
                ("pdb:set_trace", "function"),
            )
        ),
        # -- IPython and comm ---------------------------------------------------------------------------------------
        Patch(
            "IPython.core.interactiveshell:InteractiveShell.initialized",
            "classmethod",
            "IPython.get_ipython() asks it: there is a shell in each thread.",
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
                "Makes the comms that libraries open comms of this kernel.",
                upstream="https://github.com/ipython/comm (its README tells kernels to set it)",
                until="never",
            )
            for target in ("comm:create_comm", "comm:get_comm_manager")
        ),
        # -- tracebacks ---------------------------------------------------------------------------------------------
        *(
            Patch(
                f"{module}:Source.{name}",
                "dict or absent",
                "Keeps the newest entries only: executing keeps each piece of code that was in a traceback.",
                until="executing bounds its caches",
            )
            for module in ("executing", "stack_data")
            for name in ("__executing_cache", "__source_cache_with_lines")
        ),
        Patch(
            "IPython.core.ultratb:VerboseTB.get_records",
            "function(self, etb, context, tb_offset)",
            "Takes the frames of a deep recursion that are not shown out of the traceback first.",
            upstream=_SLOW_TRACEBACKS,
            until="it does not look for the source of frames that it does not show",
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
            "IPython.core.ultratb:get_line_number_of_frame",
            "function(frame)",
            "Counts the lines of cells in linecache: their files are not written.",
            until="IPython asks linecache",
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
