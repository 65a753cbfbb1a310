"""Exceptions of the user's code as text."""

from __future__ import annotations

from types import FunctionType
from typing import Any


def text_of(error: BaseException | None) -> str:
    """``str(error)``, also for exceptions that cannot be turned into text."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - user code
        return f"<the text of this {type(error).__name__} cannot be had>"


def quick_text_of(error: BaseException) -> str:
    """As `text_of`, but runs no code of the user's, which may take long."""
    if isinstance(type(error).__str__, FunctionType):
        return f"<the text of this {type(error).__name__} was not waited for>"
    return text_of(error)


def content_of(error: BaseException, text: str | None = None) -> dict[str, Any]:
    """The content of the message for an exception that is shown without its traceback. `text`: instead of its own."""
    name, text = type(error).__name__, text_of(error) if text is None else text
    return {"ename": name, "evalue": text, "traceback": [f"{name}: {text}"]}
