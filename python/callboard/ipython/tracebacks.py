"""Speeds up the libraries that IPython formats tracebacks with, and bounds their caches.

stack_data highlights lines with Pygments. It makes a class for the lexer for each frame, with the tables of Python's
syntax, and a class for the style for each traceback, with the escape sequences of its colours. That takes most of the
time of a cell that fails, and leaves thousands of objects to the garbage collector. Here these are made once.

executing keeps the syntax tree of each piece of code that was in a traceback. Here it keeps the newest.
"""

from __future__ import annotations

import contextlib
import functools
import linecache
import logging
import threading
from typing import TYPE_CHECKING, Any

from .. import patches
from . import long_tracebacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

logger = logging.getLogger("callboard.shell")

#: How many pieces of code have their syntax trees kept.
_KEPT = 128

#: How many styles are kept: users may switch between themes.
_STYLES = 8


#: The caches that are replaced, in the table of patches.
_CACHES = [
    f"{module}:Source.{name}"
    for module in ("executing", "stack_data")
    for name in ("__executing_cache", "__source_cache_with_lines")
]

#: The functions that are replaced, in the table of patches.
_REPLACED = (
    "stack_data:style_with_executing_node",
    "stack_data.core:_pygmented_with_ranges",
    "pygments.formatters.terminal256:Terminal256Formatter._setup_styles",
)


class _Newest(dict[Any, Any]):
    """A cache that drops its oldest entries."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        while len(self) > _KEPT:
            # Another thread may change it meanwhile.
            with contextlib.suppress(RuntimeError, StopIteration):
                self.pop(next(iter(self)), None)


_preparing = threading.Lock()


def prepare() -> None:
    """Replaces the caches and functions, once. Imports the libraries: call it when there is a traceback, or may be one
    soon."""
    # Threads that import the same modules at the same time may find one half imported.
    with _preparing:
        _prepare()


def load_lexer() -> None:
    """Loads Pygments' tables of Python's syntax."""
    with contextlib.suppress(ImportError):
        _lexer()


@functools.cache
def _prepare() -> None:
    _bound_caches()
    _keep_tables()
    long_tracebacks.shorten()
    try:
        patches.wrap("IPython.core.ultratb:get_line_number_of_frame", _count_lines)
    except (ImportError, AttributeError) as error:
        logger.debug("lines of cells are not counted: %s", error)


def _count_lines(count: Callable[[FrameType], int]) -> Callable[[FrameType], int]:
    """Wraps IPython's function, which reads the file of a frame. Cells are in the cache of lines only: for a file that
    cannot be read, IPython shows the line that runs now, and marks no expression."""

    @functools.wraps(count)
    def count_lines(frame: FrameType) -> int:
        cached = linecache.cache.get(frame.f_code.co_filename)
        if cached is not None and len(cached) == 4 and cached[1] is None:
            return len(cached[2])
        return count(frame)

    return count_lines


def _bound_caches() -> None:
    try:
        for target in _CACHES:
            patch = patches.TABLE[target]
            patches.put(target, _Newest(vars(patch.owner()).get(patch.name, {})))
    except (ImportError, AttributeError) as error:
        logger.debug("the caches of tracebacks are not bounded: %s", error)


def _keep_tables() -> None:
    try:
        make_style, highlight, set_up = found = [patches.present(target) for target in _REPLACED]
        are_known = all(patches.TABLE[target].fits(each) for target, each in zip(_REPLACED, found, strict=True))
    except (ImportError, AttributeError) as error:
        logger.debug("tracebacks are highlighted from scratch: %s", error)
        return
    if not are_known:
        logger.debug("tracebacks are highlighted from scratch: these are other versions of stack_data and Pygments")
        return
    tables: dict[Any, Any] = {}

    @functools.wraps(set_up)
    def set_up_once(self: Any) -> None:
        """Only for styles of `style_with_executing_node`: others may change."""
        if not getattr(self.style, "for_executing_node", False):
            set_up(self)
            return
        key = self.style, self.usebold, self.useunderline, self.useitalic
        if key not in tables:
            set_up(self)
            if len(tables) >= _STYLES:
                tables.clear()
            tables[key] = self.xterm_colors, self.best_match, self.style_string
        self.xterm_colors, self.best_match, self.style_string = tables[key]

    replacements = functools.lru_cache(_STYLES)(make_style), functools.wraps(highlight)(_highlight), set_up_once
    for target, replacement in zip(_REPLACED, replacements, strict=True):
        patches.put(target, replacement)


def _highlight(formatter: Any, code: str, ranges: set[tuple[int, int]]) -> list[str]:
    """Returns the highlighted lines of `code`. These ranges of characters are marked as being executed."""
    import pygments

    try:
        return str(pygments.highlight(code, _lexer()(ranges), formatter)).splitlines()
    except Exception:  # noqa: BLE001 - lines without colours are better than no lines
        return code.splitlines()


@functools.cache
def _lexer() -> Any:
    from pygments.lexers import get_lexer_by_name

    class Lexer(type(get_lexer_by_name("python3"))):  # type: ignore[misc]
        """Pygments' lexer for Python, which marks ranges."""

        def __init__(self, ranges: set[tuple[int, int]]) -> None:
            super().__init__(stripnl=False)
            self._ranges = ranges

        def get_tokens(self, text: str) -> Iterator[tuple[Any, str]]:
            at = 0
            for kind, value in super().get_tokens(text):
                is_marked = any(start <= at < end for start, end in self._ranges)
                yield (kind.ExecutingNode if is_marked else kind), value
                at += len(value)

    return Lexer
