"""What is loaded, or made, when it is first asked for.

Much of what a kernel would do before its first cell is for cells that may never come. asyncio imports ssl: with OpenSSL
it takes a tenth of the memory of an idle kernel, and a tenth of the time to its first result. IPython imports tempfile
in case that there is no home directory; uuid calls platform.

For modules ``importlib.util.LazyLoader`` is not enough: until Python 3.11.9 and 3.12.3 threads that ask at the same
time find the module half done (python/cpython#114763).
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

#: What is known of a module before it is loaded.
_KNOWN = {"__class__", "__spec__", "__loader__", "__name__", "__package__", "__file__", "__cached__"}

_loading = threading.RLock()
_executed: set[str] = set()


class LazyModule(ModuleType):
    """A module that has not been loaded yet. It becomes an ordinary one when something of it is asked for, or set."""

    # Not super(): it is no longer one of these by then.

    def __getattribute__(self, name: str) -> Any:
        if name not in _KNOWN:
            _load(self)
        return ModuleType.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _KNOWN:
            _load(self)
        ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        _load(self)
        ModuleType.__delattr__(self, name)


def _load(module: ModuleType) -> None:
    # Other threads wait here until it is complete; the module's own code does not.
    with _loading:
        spec = module.__spec__
        if type(module) is not LazyModule or spec is None or spec.loader is None or spec.name in _executed:
            return
        _executed.add(spec.name)
        try:
            spec.loader.exec_module(module)
            module.__class__ = ModuleType
        except BaseException:
            # As after any import that fails: the next one tries again.
            sys.modules.pop(spec.name, None)
            raise
        finally:
            _executed.discard(spec.name)


class _Later:
    """A loader that leaves the work to another one, for later."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        module.__class__ = LazyModule


class _Finder:
    """Finds modules as they are imported, and has these loaded later."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in self._names else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Later(spec.loader)  # type: ignore[assignment]
        return spec


def install() -> None:
    """Puts the modules where imports find them, and imports asyncio, which would load some of them."""
    names = ["callboard.processes.command", "ipaddress", "locale", "tempfile", "uuid"]
    # Where Python has no ssl, asyncio is to notice.
    if PathFinder.find_spec("_ssl") is not None:
        names += "ssl", "asyncio.sslproto"
    finder = _Finder(names)
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    try:
        for name in ["asyncio", *names]:
            import_module(name)
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]


class LazyAttribute:
    """An attribute of objects that is made when it is first asked for. `make` sets it."""

    _turn = threading.RLock()

    def __init__(self, make: Callable[[Any], None]) -> None:
        self._make = make
        self._making: list[Any] = []

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    # What is in the object's __dict__ goes before this.
    def __get__(self, of: Any, owner: type) -> Any:
        if of is None:
            return self
        with self._turn:
            if self._name in vars(of):
                return vars(of)[self._name]
            if any(one is of for one in self._making):
                raise AttributeError(f"{self._name} is just being made")
            self._making.append(of)
            try:
                self._make(of)
            finally:
                self._making.pop()
            return vars(of)[self._name]
