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
from typing import TYPE_CHECKING, Any

from .util.lazy_import import LazyModule

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def owner(self) -> Any:
        """The module or class that has the attribute. Its module must be imported."""
        owner: Any = sys.modules[self.module]
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


_NESTED = "Lets a cell start an event loop while the one that runs the cell is running"
_CELLS_AT_ONCE = "cells that run at the same time"
_NO_NESTING = "asyncio can run nested loops"
_ALWAYS = "never: it is how Python lets programs choose"
_CPYTHON_NESTED = "https://github.com/python/cpython/issues/66435"

#: The rows, by target.
TABLE: dict[str, Patch] = _table(
    [
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
    ]
)
