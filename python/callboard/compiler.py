"""The compiler of cells."""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

from IPython.core.compilerop import CachingCompiler

try:
    from _sha1 import sha1 as _sha1
except ImportError:  # a Python that is built to have OpenSSL's alone
    _sha1 = None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_parsing = threading.RLock()


def _without_collection(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Before Python 3.12 garbage may be collected in the midst of making a syntax tree. If what is run for that, in
    whatever thread, makes another one, CPython takes the first one for broken: "AST constructor recursion depth
    mismatch" (python/cpython#106905)."""
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
    """Lets what shows tracebacks make syntax trees while other threads do."""
    ast.parse = _without_collection(ast.parse)


class _Extra(threading.local):
    flags = 0


class Compiler(CachingCompiler):
    """IPython's, for threads that compile at the same time: flags for one piece of code (such as the one that lets it
    ``await``) are not taken from another thread's."""

    ast_parse = _without_collection(CachingCompiler.ast_parse)  # type: ignore[assignment]

    def __init__(self) -> None:
        self._extra = _Extra()
        self._lasting = 0
        super().__init__()

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        """IPython's name for the code of a cell. hashlib would load OpenSSL for it, a tenth of the memory of an idle
        kernel."""
        if _sha1 is None:
            return super().get_code_name(raw_code, transformed_code, number)
        digest = _sha1(transformed_code.encode(), usedforsecurity=False).hexdigest()
        return f"<ipython-input-{number}-{digest[:12]}>"

    @property
    def flags(self) -> int:  # type: ignore[override]
        """The flags that the calling thread compiles with."""
        return self._lasting | self._extra.flags

    @flags.setter
    def flags(self, flags: int) -> None:
        self._lasting = flags & ~(self._extra.flags & ~self._lasting)

    @contextlib.contextmanager
    def extra_flags(self, flags: int) -> Iterator[None]:
        """Sets flags for what the calling thread compiles meanwhile."""
        before = self._extra.flags
        self._extra.flags |= flags
        try:
            yield
        finally:
            self._extra.flags = before
