"""Keeps files of the current folder, such as ``json.py``, out of the kernel's own imports.

``python -m`` puts the current folder first on ``sys.path``, before the standard library; so do empty entries of
PYTHONPATH. They are taken off before a module of the standard library is imported, and come back behind the standard
library, where ipykernel has the folder. What the kernel imports later is found as if the folder were not there.
"""

# The `kernel` binary runs this file first. Both of these are loaded before any code of the current folder can be.
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

#: The entries of PYTHONPATH that `hide_current_folder` has taken off ``sys.path``.
_named: list[str] = []

#: Where the modules of `_KEPT` are found.
_library: list[str] = []

#: Modules that a kernel imports late, for tracebacks, completion and history. A file of the same name in a folder on
#: ``sys.path`` must not take their place. Those of the standard library are loaded when ipykernel runs its first cell:
#: there, too, a cell that imports one of these names gets the library's.
_KEPT = frozenset(
    (
        *("asttokens", "executing", "jedi", "matplotlib_inline", "parso", "pexpect", "ptyprocess", "pure_eval"),
        *(
            "stack_data",
            "uvloop",
            "bisect",
            "calendar",
            "cmd",
            "code",
            "csv",
            "ctypes",
            "curses",
            "decimal",
            "email",
            "gzip",
        ),
        *("hashlib", "hmac", "html", "http", "mimetypes", "pdb", "pkgutil", "platform", "pydoc", "quopri", "random"),
        *("resource", "sqlite3", "stringprep", "sysconfig", "xml", "xmlrpc", "zipfile", "zoneinfo"),
    )
)


def hide_current_folder() -> None:
    """Takes the current folder off ``sys.path`` where it stands before the standard library."""
    library = os.path.dirname(os.__file__)
    if library not in sys.path:
        return
    # A Python that is too old has no -P: it gets as far as the sentence that says so.
    is_module = sys.argv[:1] == ["-m"] and not getattr(sys.flags, "safe_path", False)
    for at, entry in enumerate(sys.path[: sys.path.index(library)]):
        if entry and not _is_here(entry):
            continue
        sys.path.remove(entry)
        # That of `python -m` comes back as '', as with ipykernel.
        if entry and not (at == 0 and is_module):
            _named.append(entry)


def show_current_folder(*, with_current: bool) -> None:
    """Puts what was taken off behind the standard library, for the code of cells; `with_current`, also '', which is the
    folder that is current when a module is imported."""
    _library[:] = sys.path
    at = next((at for at, entry in enumerate(sys.path) if _is_for_packages(entry)), len(sys.path))
    sys.path[at:at] = [*([""] if with_current and "" not in sys.path else []), *_named]


def _is_here(entry: str) -> bool:
    try:
        return os.path.samefile(entry, os.curdir)
    except OSError:
        return False


def _is_for_packages(entry: str) -> bool:
    return os.path.basename(entry) in ("site-packages", "dist-packages")


class LibraryFinder:
    """A finder of ``sys.meta_path`` for the modules that the kernel imports late."""

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if path is not None or name not in _KEPT:
            return None
        from importlib.machinery import PathFinder

        return PathFinder.find_spec(name, _library, target)
