"""The completer and the inspector, which are made on first access."""

from __future__ import annotations

import threading
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import ShellPart
else:
    ShellPart = object


class LazyAttribute:
    """An attribute that is created on first access: `make` sets it on the object.

    One thread creates it; others wait. An access from within `make` raises ``AttributeError``.
    """

    # Shared by all attributes: `make` of one may access another.
    _lock = threading.RLock()

    def __init__(self, make: Callable[[Any], None]) -> None:
        self._make = make
        self._making: list[Any] = []

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    # A non-data descriptor: once the attribute is in the object's __dict__, this is no longer called.
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        with self._lock:
            if self._name in vars(instance):
                return vars(instance)[self._name]
            if any(other is instance for other in self._making):
                raise AttributeError(f"{self._name} is just being made")
            self._making.append(instance)
            try:
                self._make(instance)
            finally:
                self._making.pop()
            return vars(instance)[self._name]


class LazyParts(ShellPart):
    """Delays what IPython makes together with the shell, and what the first cell does not need."""

    _configurables: list[Any]

    def _make_completer(self) -> None:
        if self.subshell_id is None:
            super().init_completer()
            return
        # IPython's own completers are registered already, in the main shell: registering them again adds them twice.
        shared, self.strdispatchers = self.strdispatchers, {}
        try:
            super().init_completer()
        finally:
            self.strdispatchers = shared
        self.Completer.custom_completers = self.main_shell.Completer.custom_completers
        if not self.shares_variables:
            self.Completer.global_namespace = self.main_shell.user_ns

    Completer = LazyAttribute(_make_completer)

    def init_completer(self) -> None:
        """Makes nothing yet: see `Completer`."""

    def _make_inspector(self) -> None:
        # IPython makes one because there is none.
        super().init_syntax_highlighting()

    inspector = LazyAttribute(_make_inspector)

    def init_syntax_highlighting(self, changes: Any = None) -> None:
        """Sets the colours, without making the inspector."""
        is_made = "inspector" in vars(self)
        if not is_made:
            self.inspector = types.SimpleNamespace(set_theme_name=lambda _name: None)
        super().init_syntax_highlighting(changes)
        if not is_made:
            del self.inspector

    def set_hook(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Adds a hook. Completers come after IPython's own."""
        if name == "complete_command":
            self.Completer  # noqa: B018 - making it is the point
        super().set_hook(name, *args, **kwargs)

    @property
    def configurables(self) -> list[Any]:
        """The objects that ``%config`` knows."""
        if self.is_made:
            self.Completer  # noqa: B018 - making it is the point
        return self._configurables

    @configurables.setter
    def configurables(self, configurables: list[Any]) -> None:
        self._configurables = configurables
