"""Exceptions of the user's code as text."""

from __future__ import annotations

from types import FunctionType


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
