"""Import hooks: changes how some modules are loaded, and calls functions when modules have been imported."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType


logger = logging.getLogger("callboard.imports")


class ImportHook:
    """A finder of ``sys.meta_path``. The other finders find these modules; `change` gets the spec, which has a loader,
    before the module is loaded."""

    def __init__(self, names: Container[str], change: Callable[[ModuleSpec, Loader], None]) -> None:
        self._names = names
        self._change = change

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._names:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is None:
                    return None
                self._change(spec, spec.loader)
                return spec
        return None

    def install(self) -> None:
        """Asks it before the other finders from now on."""
        sys.meta_path.insert(0, self)

    def uninstall(self) -> None:
        """Asks it no longer."""
        sys.meta_path.remove(self)


def after_import(callbacks: Mapping[str, Callable[[ModuleType], None]]) -> ImportHook:
    """Calls a function with each of these modules that is imported already. Returns a hook that does so with the others
    when they have been imported, as long as it is installed."""
    for name, callback in callbacks.items():
        module = sys.modules.get(name)
        if module is not None:
            _call(callback, module)

    def change(spec: ModuleSpec, loader: Any) -> None:
        exec_module = loader.exec_module

        def exec_and_call(module: ModuleType) -> None:
            del loader.exec_module
            exec_module(module)
            _call(callbacks[spec.name], module)

        loader.exec_module = exec_and_call

    return ImportHook(callbacks, change)


def _call(callback: Callable[[ModuleType], None], module: ModuleType) -> None:
    try:
        callback(module)
    except (ImportError, AttributeError) as error:
        # A file of the user's may have the name of a library: importing it is no error.
        logger.debug("%s is not the library of this name: %s", getattr(module, "__file__", module.__name__), error)
