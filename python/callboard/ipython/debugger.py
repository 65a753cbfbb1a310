"""IPython's debugger in the place of pdb: an interrupt at its prompt ends it. pdb itself asks again after each, and the
cell could only be left by a restart."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .. import patches

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_IPYTHONS = "IPython.core.debugger"


def imported(module: ModuleType) -> None:
    """To be called when pdb or IPython's debugger has been imported."""
    if module.__name__ == _IPYTHONS:
        _replace(module)
    else:
        # Does nothing if that module has imported pdb and goes on to be imported.
        import_module(_IPYTHONS)


def _replace(ipythons: ModuleType) -> None:
    patches.put("IPython.core.debugger:Pdb", ipythons.InterruptiblePdb)
    patches.put("pdb:Pdb", ipythons.InterruptiblePdb)
    patches.wrap("IPython.core.debugger:InterruptiblePdb.reset", _stop_again)
    # breakpoint() calls it too.
    patches.put("pdb:set_trace", ipythons.set_trace)


def _stop_again(original: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(original)
    def reset(self: Any) -> None:
        # Set to a function that stops nowhere when the last prompt was interrupted.
        vars(self).pop("stop_here", None)
        original(self)

    return reset
