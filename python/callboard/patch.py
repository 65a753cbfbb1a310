"""Rows of the table of patches: what is replaced in another library, why, and how it is read and written."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from typing import Any

from .util.lazy_import import LazyModule

#: Python's own, which a kernel replaces.
_get_handler, _set_handler = signal.getsignal, signal.signal

#: Stands for the value of a target that has none of its own.
NOTHING: Any = object()


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
        #: Whether it is also replaced in the modules that have imported it.
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
        """Returns the value of the target; of a class the one that it defines itself, not one that it inherits."""
        if isinstance(owner, type):
            return owner.__dict__.get(self.name, NOTHING)
        return getattr(owner, self.name, NOTHING)

    def write(self, owner: Any, value: Any, instead_of: Any) -> None:
        """Sets the value of the target, instead of this one."""
        if value is NOTHING:
            delattr(owner, self.name)
        else:
            setattr(owner, self.name, value)
        if not self.in_all_modules or value is NOTHING:
            return
        for module in list(sys.modules.values()):
            if type(module) is LazyModule:
                continue
            if getattr(module, "__dict__", {}).get(self.name) is instead_of:
                setattr(module, self.name, value)

    def __str__(self) -> str:
        return f"{self.target} ({self.shape})\n  {self.reason}\n  until: {self.until}\n  upstream: {self.upstream}"


class HandlerPatch(Patch):
    """A row for the handler of a signal. Only the main thread may set it."""

    def owner(self) -> signal.Signals:
        return signal.Signals[self.name]

    def read(self, owner: Any) -> Any:
        return _get_handler(owner)

    def write(self, owner: Any, value: Any, instead_of: Any) -> None:
        # None: Python code has not installed it.
        if value is not None:
            _set_handler(owner, value)


class FinderPatch(Patch):
    """A row for an entry of ``sys.meta_path``."""

    def read(self, owner: Any) -> Any:
        return NOTHING

    def write(self, owner: Any, value: Any, instead_of: Any) -> None:
        if value is not NOTHING:
            sys.meta_path.insert(0, value)
        elif instead_of in sys.meta_path:
            sys.meta_path.remove(instead_of)


class ModulesPatch(Patch):
    """A row for entries of ``sys.modules``. A replacement is a finder that has made them (``modules``), and makes them
    again when they have been taken out."""

    def read(self, owner: Any) -> Any:
        return NOTHING

    def write(self, owner: Any, value: Any, instead_of: Any) -> None:
        if value is not NOTHING:
            sys.modules.update(value.modules)
            sys.meta_path.insert(0, value)
            return
        for name, module in instead_of.modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        if instead_of in sys.meta_path:
            sys.meta_path.remove(instead_of)
