"""Lazy imports: modules that are loaded on first access.

A kernel's first cell does not need all that is imported before it. asyncio imports ssl: with OpenSSL it takes a tenth
of the memory of an idle kernel, and a tenth of the time to its first result. IPython imports tempfile in case there is
no home directory; uuid calls platform; logging imports pickle, for handlers that send records to other processes.

``importlib.util.LazyLoader`` is not enough: before Python 3.11.9 and 3.12.3, threads that access the module at the same
time find it partly loaded (python/cpython#114763).
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .import_hook import ImportHook

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

#: Attributes that a module has before it is loaded. Libraries look into the ``__dict__`` of each entry of
#: ``sys.modules``, and loading would add entries meanwhile.
_KNOWN = {
    *("__class__", "__spec__", "__loader__", "__name__", "__package__", "__file__", "__cached__"),
    *("__dict__", "__reduce_ex__"),
}

_loading = threading.RLock()
_executed: set[str] = set()


class LazyModule(ModuleType):
    """A module that has not been loaded yet. It becomes an ordinary one when an attribute is read, set or deleted."""

    # ModuleType, not super(): loading has changed the class of the module.

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

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        # Picklers know modules by their type.
        return import_module, (self.__name__,)


def _load(module: ModuleType) -> None:
    # Other threads wait here until it is loaded. The module's own code does not: the lock is reentrant.
    with _loading:
        spec = module.__spec__
        if type(module) is not LazyModule or spec is None or spec.loader is None or spec.name in _executed:
            return
        _executed.add(spec.name)
        try:
            spec.loader.exec_module(module)
            loaded: Any = module
            loaded.__class__ = ModuleType
        except BaseException:
            # As after any failed import: the next one tries again.
            sys.modules.pop(spec.name, None)
            raise
        finally:
            _executed.discard(spec.name)


class _LazyLoader:
    """A loader whose modules are loaded by another loader on first access."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        module.__class__ = LazyModule


def _make_lazy(spec: ModuleSpec, loader: Loader) -> None:
    spec.loader = _LazyLoader(loader)  # type: ignore[assignment]


def install() -> None:
    """Makes the imports of the rarely needed modules lazy, and imports asyncio, which would load some of them."""
    own = ["callboard.processes.thread_job"]
    names = [*own, "ipaddress", "locale", "pickle", "tempfile", "uuid"]
    # Without _ssl the import of ssl must fail at once: asyncio asks whether there is ssl.
    if PathFinder.find_spec("_ssl") is not None:
        names += "ssl", "asyncio.sslproto"
    hook = ImportHook(names, _make_lazy)
    hook.install()
    try:
        for name in ["asyncio", *names]:
            import_module(name)
    finally:
        hook.uninstall()
