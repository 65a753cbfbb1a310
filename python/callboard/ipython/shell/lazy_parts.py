"""The completer and the inspector, which are made on first access."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from ...util.lazy_attribute import LazyAttribute

if TYPE_CHECKING:
    from .base import ShellPart
else:
    ShellPart = object


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
