"""Attributes of a class that are in a module of their own, which is loaded with the first access to one of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LateAttribute:
    """An attribute that another class defines: its property, method or value of the same name.

    A non-data descriptor: what is set on an object hides it, unless it is a property there with a setter.
    """

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        #: ``package.module:Class``.
        self._where = where

    @property
    def member(self) -> Any:
        """What the other class defines."""
        module, _, name = self._where.partition(":")
        return vars(getattr(import_module(module), name))[self._name]

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            # traitlets asks for all attributes of a class when it is made.
            return self
        member = self.member
        bind = getattr(type(member), "__get__", None)
        return member if bind is None else bind(member, instance, owner)

    def __call__(self, instance: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a method that was taken from the class."""
        return self.__get__(instance, type(instance))(*args, **kwargs)


def late(names: str, where: str) -> dict[str, Any]:
    """Returns a late attribute for each of these names, for the namespace of a class."""
    return {name: LateAttribute(name, where) for name in names.split()}
