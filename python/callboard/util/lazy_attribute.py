"""Lazily created attributes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class LazyAttribute:
    """An attribute that is created on first access: `make` sets it on the object.

    One thread creates it; others wait. An access from within `make` raises ``AttributeError``.
    """

    # Shared by all attributes: `make` of one may access another.
    _lock = threading.RLock()

    def __init__(self, make: Callable[[Any], None]) -> None:
        self._make = make
        self._making: list[Any] = []

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    # A non-data descriptor: once the attribute is in the object's __dict__, this is no longer called.
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        with self._lock:
            if self._name in vars(instance):
                return vars(instance)[self._name]
            if any(other is instance for other in self._making):
                raise AttributeError(f"{self._name} is just being made")
            self._making.append(instance)
            try:
                self._make(instance)
            finally:
                self._making.pop()
            return vars(instance)[self._name]
