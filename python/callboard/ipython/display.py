"""Formats what cells show, and publishes the value of a cell's last expression."""

from __future__ import annotations

from contextvars import ContextVar
from tokenize import TokenError
from typing import Any

from IPython.core import formatters
from IPython.core.displayhook import DisplayHook

from ..context import current_cell
from ..util.json import encode
from .publishing import Publishing

_content: ContextVar[Any] = ContextVar("callboard_content", default=None)


class DisplayFormatter(formatters.DisplayFormatter):
    """IPython's display formatter, which asks a dozen formatters how to show an object. Does not ask those that have
    nothing for it, as most have: that halves the time of a display."""

    def format(self, obj: object, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the mime bundle of an object, and its metadata."""
        everything = self.ipython_display_formatter, self.mimebundle_formatter
        if not _is_plain(obj) or any(_may_have(one, obj) for one in everything):
            formatted: tuple[dict[str, Any], dict[str, Any]] = super().format(obj, include, exclude)
            return formatted
        bundle, metadata = {}, {}
        for name, formatter in self.formatters.items():
            if (include and name not in include) or (exclude and name in exclude) or not _may_have(formatter, obj):
                continue
            data, about = formatter(obj), None
            if isinstance(data, tuple) and len(data) == 2:
                data, about = data
            if data is not None:
                bundle[name] = data
            if about is not None:
                metadata[name] = about
        return bundle, metadata


def _is_plain(obj: object) -> bool:
    """Whether looking up an attribute of an object runs no code of its class."""
    cls = type(obj)
    # This also finds methods of these names that the metaclass defines.
    return cls.__getattribute__ in _ORDINARY and not hasattr(cls, "__getattr__") and obj.__class__ is cls


#: The methods that look up attributes of most objects.
_ORDINARY = {
    cls.__getattribute__ for cls in (object, int, float, complex, bool, str, bytes, list, tuple, dict, set, type(None))
}


#: Formatters that use a printer registered for an object or its type, or else a method of the object, and no other way.
_BY_METHOD = (
    *(formatters.HTMLFormatter, formatters.MarkdownFormatter, formatters.SVGFormatter, formatters.PNGFormatter),
    *(formatters.PDFFormatter, formatters.JPEGFormatter, formatters.LatexFormatter, formatters.JSONFormatter),
    *(formatters.JavascriptFormatter, formatters.IPythonDisplayFormatter, formatters.MimeBundleFormatter),
)


def _may_have(formatter: Any, obj: object) -> bool:
    """Whether a formatter may have something for an object: a registered printer, or the method that it calls."""
    if type(formatter) not in _BY_METHOD:
        return True
    # The attributes are traits, which take ten times as long.
    values = formatter._trait_values
    try:
        method, ids = values["print_method"], values["singleton_printers"]
        types, names = values["type_printers"], values["deferred_printers"]
    except KeyError:
        # The first use: traitlets makes the defaults.
        method, ids = formatter.print_method, formatter.singleton_printers
        types, names = formatter.type_printers, formatter.deferred_printers
    cls = type(obj)
    if hasattr(cls, method) or method in getattr(obj, "__dict__", ()) or (ids and id(obj) in ids):
        return True
    return (bool(types) and any(base in types for base in cls.__mro__)) or (
        bool(names) and any((base.__module__, base.__name__) in names for base in cls.__mro__)
    )


def ends_with_semicolon(code: str) -> bool:
    """Whether the last token of code is a semicolon. False for code that Python cannot tokenize."""
    try:
        return bool(DisplayHook.semicolon_at_end_of_expression(code))
    except (SyntaxError, TokenError):
        return False


class ZMQShellDisplayHook(Publishing, DisplayHook):
    """Publishes ``execute_result``."""

    __module__ = "ipykernel.displayhook"

    shell: Any
    topic = b"execute_result"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._init_publishing()

    @property
    def content(self) -> Any:
        """The content of the ``execute_result`` while a value is displayed."""
        return _content.get()

    @content.setter
    def content(self, content: Any) -> None:
        _content.set(content)

    @property
    def prompt_count(self) -> int:
        """The number of the cell that the calling code belongs to."""
        cell = current_cell.get()
        return cell.number if cell is not None and cell.shell is self.shell else self.shell.execution_count - 1

    @property
    def exec_result(self) -> Any:
        """IPython's record of the code that runs: of that cell, or of code that it gives to ``run_cell``."""
        cell = current_cell.get()
        return cell.exec_results[0] if cell is not None and cell.exec_results else None

    @exec_result.setter
    def exec_result(self, result: Any) -> None:
        if (cell := current_cell.get()) is None:
            return
        if result is not None:
            cell.exec_results = result, cell.exec_results
        elif cell.exec_results is not None:
            cell.exec_results = cell.exec_results[1]

    def quiet(self) -> bool:
        """Whether the code that runs ends with a semicolon, as Python: the text of a magic says nothing."""
        cell = current_cell.get()
        if cell is None or cell.exec_results is None:
            return False
        code = cell.exec_results[0].info.transformed_cell
        # Most cells have no semicolon, and need not be tokenized.
        return ";" in code and ends_with_semicolon(code)

    def update_user_ns(self, result: Any) -> None:
        """Stores a value in ``Out`` and ``_``. A subshell that shares its variables has an ``Out`` of its own only."""
        if self.shell.shares_variables:
            self.shell.history_manager.output_hist[self.prompt_count] = result
        else:
            super().update_user_ns(result)

    def start_displayhook(self) -> None:
        self.content = {"data": {}, "metadata": {}}

    def log_output(self, format_dict: dict[str, Any]) -> None:
        """Stores the text of a value for the history. Skips cells that are not in the history: they have no number of
        their own, and their texts would be stored under that of the next cell."""
        cell = current_cell.get()
        if cell is None or cell.request.store_history:
            super().log_output(format_dict)

    def write_output_prompt(self) -> None:
        self.content["execution_count"] = self.prompt_count

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        self.content["data"] = format_dict
        self.content["metadata"] = md_dict or {}

    def finish_displayhook(self) -> None:
        content, self.content = self.content, None
        if not content or not content["data"]:
            return
        if self.is_plain():
            self.shell.kernel.core.publish("execute_result", encode(content))
        else:
            self.send("execute_result", content)
