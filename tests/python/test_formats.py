"""Formatters that have nothing for an object are skipped, with the result that IPython gives."""

from __future__ import annotations

import abc
import sys
import types
from fractions import Fraction
from typing import Any

import pytest
from callboard.ipython.display import DisplayFormatter
from IPython.core import formatters
from IPython.display import HTML, JSON, Image, Markdown, Math


class Rich:
    def _repr_html_(self) -> str:
        return "<b>rich</b>"

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return b"png", {"width": 1}

    def _repr_markdown_(self) -> None:
        return None


class Heir(Rich, abc.ABC):
    def _repr_latex_(self) -> str:
        return "$x$"


class Bundle:
    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return {"text/x": f"{include} {exclude}", "text/plain": "bundled"}, {"text/x": {"a": 1}}


class ShowsItself:
    shown = 0

    def _ipython_display_(self) -> None:
        self.shown += 1


class Dynamic:
    def __getattr__(self, name: str) -> Any:
        if name == "_repr_html_":
            return lambda: "<i>dynamic</i>"
        raise AttributeError(name)


class SaysYes:
    def __getattr__(self, name: str) -> Any:
        return lambda *_args: "yes"


class Guarded:
    def __getattribute__(self, name: str) -> Any:
        if name == "_repr_svg_":
            return lambda: "<svg/>"
        return object.__getattribute__(self, name)


class Pretends:
    @property
    def __class__(self) -> type:  # type: ignore[override]
        return Rich


class Meta(type):
    def __getattr__(cls, name: str) -> Any:
        if name == "_repr_html_":
            return lambda: "<i>meta</i>"
        raise AttributeError(name)


class OfMeta(metaclass=Meta):
    pass


class Touchy(type):
    def __getattr__(cls, name: str) -> Any:
        raise RuntimeError(name)


class OfTouchy(metaclass=Touchy):
    pass


class Slotted:
    __slots__ = ("_repr_html_",)

    def __init__(self) -> None:
        self._repr_html_ = lambda: "<i>slot</i>"


class Wrong:
    def _repr_html_(self) -> int:
        return 5


class Late:
    pass


def with_method_of_its_own() -> Late:
    late = Late()
    late._repr_javascript_ = lambda: "alert(1)"  # type: ignore[attr-defined]
    return late


OBJECTS: list[Any] = [
    *(1, "text", None, [1, 2], {"a": [1]}, Fraction(1, 2), b"bytes", object(), Ellipsis, NotImplemented),
    *(Rich(), Heir(), Bundle(), Dynamic(), SaysYes(), Guarded(), Pretends(), OfMeta(), OfTouchy(), Slotted(), Late()),
    *(Rich, Heir, OfMeta, Meta, int, sys, types, len, Rich()._repr_html_, lambda: 1),
    *(HTML("<b>x</b>"), JSON({"a": 1}), Markdown("*x*"), Math("x"), Image(b"GIF89a", format="gif")),
    *(with_method_of_its_own(), ValueError("x"), range(3), {1, 2}, (), types.SimpleNamespace(a=1)),
]


@pytest.fixture
def both() -> tuple[formatters.DisplayFormatter, formatters.DisplayFormatter]:
    """The formatters of callboard and of IPython."""
    return DisplayFormatter(), formatters.DisplayFormatter()


def compare(both: tuple[formatters.DisplayFormatter, formatters.DisplayFormatter]) -> None:
    """Asserts that both give the same for all objects."""
    ours, theirs = both
    for obj in OBJECTS:
        for limits in ({}, {"include": {"text/html", "text/x"}}, {"exclude": ["text/plain", "text/x"]}):
            assert ours.format(obj, **limits) == theirs.format(obj, **limits), (obj, limits)


def test_the_formats_are_those_of_ipython(both: Any) -> None:
    compare(both)


def test_printers_of_all_sorts_are_called(both: Any) -> None:
    for one in both:
        html, plain = one.formatters["text/html"], one.formatters["text/plain"]
        html.for_type(int, lambda number: f"<b>{number}</b>")
        html.for_type_by_name("fractions", "Fraction", lambda fraction: f"<b>{fraction}</b>")
        html.singleton_printers[id(None)] = lambda _obj: "<b>nothing</b>"
        one.formatters["image/png"].for_type(Rich, lambda _rich: (b"registered", {"height": 2}))
        one.formatters["text/latex"].for_type(object, lambda _obj: "$o$")
        one.mimebundle_formatter.for_type(str, lambda text: {"text/x": text})
        plain.for_type(dict, lambda _dict, printer, _cycle: printer.text("a dict"))
    compare(both)
    assert both[0].format(1)[0]["text/html"] == "<b>1</b>"
    assert both[0].format(Fraction(1, 2))[0]["text/html"] == "<b>1/2</b>"


def test_a_method_that_a_class_gets_later_is_called(both: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(both)
    monkeypatch.setattr(Late, "_repr_html_", lambda _self: "<b>late</b>", raising=False)
    compare(both)
    assert both[0].format(Late())[0]["text/html"] == "<b>late</b>"


def test_formatters_of_users_are_asked(both: Any) -> None:
    class Upper(formatters.BaseFormatter):
        format_type = "text/upper"

        def __call__(self, obj: object) -> str:
            return repr(obj).upper()

    for one in both:
        one.formatters["text/upper"] = Upper(parent=one)
    compare(both)
    assert both[0].format("a")[0]["text/upper"] == "'A'"


def test_formats_that_are_switched_off_stay_off(both: Any) -> None:
    for one in both:
        one.active_types = ["text/plain"]
    compare(both)
    assert list(both[0].format(Rich())[0]) == ["text/plain"]


def test_an_object_that_shows_itself_is_not_formatted(both: Any) -> None:
    itself = ShowsItself()
    assert [one.format(itself) for one in both] == [({}, {}), ({}, {})]
    assert itself.shown == 2


def test_a_method_that_returns_the_wrong_thing_is_warned_of(both: Any) -> None:
    for one in both:
        with pytest.warns(formatters.FormatterWarning, match="text/html formatter returned invalid type"):
            assert list(one.format(Wrong())[0]) == ["text/plain"]
