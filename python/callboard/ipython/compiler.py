"""The compiler of cells."""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from IPython.core.compilerop import CachingCompiler

from .. import patches
from .._core import cell_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_parsing = threading.RLock()


def _without_collection(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a function that makes syntax trees, so that none is made while another one is, before Python 3.12. Garbage
    collection may run finalizers or other threads then; if these make a tree, CPython raises "AST constructor recursion
    depth mismatch" for the first one (python/cpython#106905)."""
    if sys.version_info >= (3, 12) or hasattr(parse, "__wrapped__"):
        return parse

    @functools.wraps(parse)
    def parse_undisturbed(*args: Any, **kwargs: Any) -> Any:
        with _parsing:
            is_enabled = gc.isenabled()
            try:
                gc.disable()
                return parse(*args, **kwargs)
            finally:
                if is_enabled:
                    gc.enable()

    return parse_undisturbed


def install() -> None:
    """Lets libraries that show tracebacks make syntax trees while other threads do."""
    parse = _without_collection(ast.parse)
    if parse is not ast.parse:
        patches.put("ast:parse", parse)


class _OfThread(threading.local):
    #: Flags for one piece of code.
    flags = 0
    #: The code that has been parsed ahead, with the arguments of `ast_parse` and the flags, and its tree.
    ahead: tuple[tuple[str, str, str, int], ast.AST] | None = None


def folder_of_cells() -> str:
    """Returns the folder of the files that cells are compiled as, by ipykernel's rule. It need not exist."""
    # As tempfile has it, which takes longer to import than a first cell to run.
    named = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    folders = [os.path.abspath(folder) for folder in (*named, "/tmp", "/var/tmp", "/usr/tmp", os.curdir) if folder]
    usable = (folder for folder in folders if os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK))
    return os.path.join(next(usable, folders[-1]), f"ipykernel_{os.getpid()}")


class Compiler(CachingCompiler):
    """IPython's compiler, for threads that compile at the same time: each has its own flags for one piece of code (such
    as the one that allows ``await``)."""

    __module__ = "ipykernel.compiler"

    _parse = _without_collection(CachingCompiler.ast_parse)

    def __init__(self) -> None:
        self._of_thread = _OfThread()
        self._lasting = 0
        self._folder = folder_of_cells()
        super().__init__()

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        """Returns the name of a file for the code of a cell, as ipykernel does: tools show no source for names in angle
        brackets, and debuggers compute this one. Nothing is written: the source is in `linecache`."""
        return cell_file(self._folder, raw_code)

    def parse_ahead(self, code: str, raw_code: str, number: int) -> bool:
        """Parses the code of a cell for the next `ast_parse` of the calling thread. Returns False, and shows no error,
        if it is not Python; shows warnings of the parser."""
        name = self.cache(code, number, raw_code)
        try:
            tree = self._parse(code, name)
        except Exception:  # noqa: BLE001 - ast_parse raises it again
            return False
        self._of_thread.ahead = (code, name, "exec", self.flags), tree
        return True

    def ast_parse(self, source: str, filename: str = "<unknown>", symbol: str = "exec") -> Any:
        """Returns the syntax tree of code."""
        ahead, self._of_thread.ahead = self._of_thread.ahead, None
        if ahead is not None and ahead[0] == (source, filename, symbol, self.flags):
            return ahead[1]
        return self._parse(source, filename, symbol)

    @property
    def flags(self) -> int:
        """The flags that the calling thread compiles with."""
        return self._lasting | self._of_thread.flags

    @flags.setter
    def flags(self, flags: int) -> None:
        self._lasting = flags & ~(self._of_thread.flags & ~self._lasting)

    @contextlib.contextmanager
    def extra_flags(self, flags: int) -> Iterator[None]:
        """Sets flags for the code that the calling thread compiles in the block."""
        before = self._of_thread.flags
        self._of_thread.flags |= flags
        try:
            yield
        finally:
            self._of_thread.flags = before
