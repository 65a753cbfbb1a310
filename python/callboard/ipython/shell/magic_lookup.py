"""Finds magics by name: subshells have those that users define in the main shell."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import ShellPart
else:
    ShellPart = object


class MagicLookup(ShellPart):
    """Finds magics."""

    def init_magics(self) -> None:
        """Makes the manager of magics, which loads them in one thread at a time."""
        super().init_magics()
        manager: Any = self.magics_manager
        manager.load_lazy = functools.partial(_load_in_turn, manager.load_lazy)

    def find_magic(self, magic_name: str, magic_kind: str = "line") -> Any:
        """Finds a magic; in a subshell also those that users have defined in the main shell."""
        return self._or_that_of_main(super().find_magic(magic_name, magic_kind), magic_name, magic_kind)

    def find_line_magic(self, magic_name: str) -> Any:
        """See `find_magic`."""
        return self.find_magic(magic_name, "line")

    def find_cell_magic(self, magic_name: str) -> Any:
        """See `find_magic`."""
        return self.find_magic(magic_name, "cell")

    def _find_with_lazy_load(self, type_: str, magic_name: str) -> Any:
        return self.find_magic(magic_name, type_)

    def _or_that_of_main(self, found: Any, name: str, kind: str) -> Any:
        """Prefers the user's magic of the main shell to one that is built in, or none."""
        if self.subshell_id is None or not (found is None or _is_built_in(found)):
            return found
        if found is not None and _is_built_in(self.main_shell.magics_manager.magics[kind].get(name)):
            return found
        return self.main_shell.find_magic(name, kind) or found

    def may_be_magic(self, name: str) -> bool:
        """Whether there could be a magic of this name. `find_magic` knows, but may have to import it."""
        if name.startswith("%"):
            return True
        for manager in {self.magics_manager, self.main_shell.magics_manager}:
            if name in manager.lazy_magics or any(name in magics for magics in manager.magics.values()):
                return True
        return False


#: IPython imports magics on first use: another thread would find them half done.
_loading = threading.RLock()


def _load_in_turn(load: Callable[..., None], *args: Any) -> None:
    with _loading:
        load(*args)


def _is_built_in(magic: Any) -> bool:
    """Whether a magic is IPython's or callboard's, or None."""
    return magic is None or (getattr(magic, "__module__", None) or "").partition(".")[0] in ("IPython", "callboard")
