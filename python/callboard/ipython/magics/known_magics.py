"""The magics of IPython's that wait for commands, or run code that may have something to await.

Its other magics return nothing that is to be awaited.
"""

from __future__ import annotations

from typing import Any

from IPython.core.magic import LazyMagic

_OSM = "IPython.core.magics.osm"
_SCRIPT = "IPython.core.magics.script"
_EXECUTION = "IPython.core.magics.execution"
_HISTORY = "IPython.core.magics.history"
_PACKAGING = "IPython.core.magics.packaging"

# By module and name of the function, see `origin`.
#: They wait for commands.
COMMANDS = {
    (_OSM, "sx"),
    (_OSM, "sc"),
    ("callboard.ipython.magics.kernel_magics", "man"),
    *((_PACKAGING, name) for name in ("pip", "conda", "mamba", "micromamba", "uv")),
}
SCRIPTS = {(_SCRIPT, "shebang"), (_SCRIPT, "named_script_magic")}
#: They run code: see `callboard.ipython.magics.code_magics`.
TIME, CAPTURE, RERUN = (_EXECUTION, "time"), (_EXECUTION, "capture"), (_HISTORY, "rerun")
RUN_CODE = {TIME, CAPTURE, RERUN}

_AWAITED = COMMANDS | SCRIPTS | RUN_CODE
_MODULES = {module for module, _ in _AWAITED}


def origin(function: Any) -> tuple[str, str]:
    """The module and the name of the function of a magic. Imports nothing."""
    if isinstance(function, LazyMagic):
        return function.spec.partition(":")[0], ""
    return str(getattr(function, "__module__", "")), str(getattr(function, "__name__", ""))


def may_be_awaited(origin: tuple[str, str]) -> bool:
    """Whether a magic is one of these, or the user's: that may return something to await."""
    return origin in _AWAITED or origin[0].partition(".")[0] not in ("IPython", "callboard")


def must_be_imported(function: Any) -> bool:
    """Whether a magic has to be imported before `may_be_awaited` can tell."""
    return isinstance(function, LazyMagic) and function.spec.partition(":")[0] in _MODULES
