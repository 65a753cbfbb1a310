"""Variables while nothing stands: what a client's list of variables shows between cells.

At a stop pydevd shows them. Both number what can be opened (``variablesReference``): the numbers here begin at
`FIRST_REFERENCE`, above all of pydevd's.
"""

from __future__ import annotations

import itertools
import re
import reprlib
import sys
from collections.abc import Mapping, Sequence, Set
from types import ModuleType
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython

from ..util.json import encode
from .session import DebuggerError

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST_REFERENCE = 1 << 40

#: How many members of an object are shown, unless a client asks for a range.
PAGE = 100

#: IPython's names of inputs and outputs.
_OF_IPYTHON = re.compile(r"_(i{0,3}|i?\d+|_{1,2}|dh|oh|ih|exit_code)|__.*__|In|Out")

#: What has no members that anyone wants to open.
_PLAIN = (int, float, complex, bool, str, bytes, type(None), type(...), type(NotImplemented))

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200
_short.maxlong = 80


class Variables:
    """The variables of a shell. For one thread."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._objects: dict[int, Any] = {}
        self._numbers = itertools.count(FIRST_REFERENCE)

    def inspect(self) -> dict[str, Any]:
        """The user's variables (``inspectVariables``). What has been opened before is forgotten."""
        self._objects.clear()
        hidden = self._shell.user_ns_hidden
        # A copy: cells go on meanwhile.
        names = [
            name
            for name, value in self._shell.user_ns.copy().items()
            if not _OF_IPYTHON.fullmatch(name) and not (name in hidden and hidden[name] is value)
        ]
        namespace = self._shell.user_ns
        return {"variables": [self._described(name, namespace[name], name) for name in names if name in namespace]}

    def members(
        self,
        variablesReference: int,  # noqa: N803 - DAP's name
        start: int = 0,
        count: int = 0,
        **_more: Any,
    ) -> dict[str, Any]:
        """The members of an object that has a number (``variables``)."""
        try:
            owner = self._objects[variablesReference]
        except KeyError:
            msg = f"there is no variable with the reference {variablesReference}: ask for inspectVariables again"
            raise DebuggerError(msg) from None
        found = itertools.islice(_members(owner), start, start + (count or PAGE))
        return {"variables": [self._described(name, value) for name, value in found]}

    def rich(self, variableName: str, **_more: Any) -> dict[str, Any]:  # noqa: N803 - DAP's name
        """How a variable is displayed (``richInspectVariables``)."""
        namespace = self._shell.user_ns
        if not variableName.isidentifier() or variableName not in namespace:
            msg = f"there is no variable {variableName!r}"
            raise DebuggerError(msg)
        return _displayed(self._shell, namespace[variableName])

    def _described(self, name: str, value: Any, expression: str = "") -> dict[str, Any]:
        reference = 0
        if not isinstance(value, _PLAIN):
            reference = next(self._numbers)
            self._objects[reference] = value
        kind = type(value)
        shown = {"name": name, "value": _shown(value), "type": kind.__name__, "variablesReference": reference}
        if expression:
            shown["evaluateName"] = expression
        if reference and (size := _size(value)) is not None:
            shown["indexedVariables" if isinstance(value, Sequence) else "namedVariables"] = size
        return shown


def rich_text(value: Any) -> object:
    """How a variable is displayed: an object whose ``repr`` is that as JSON. pydevd evaluates this at a stop, and
    answers with the ``repr`` of what comes of it."""
    return _Text(encode(_displayed(get_ipython(), value)).decode())


class _Text:
    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _displayed(shell: Any, value: Any) -> dict[str, Any]:
    data, metadata = shell.display_formatter.format(value)
    return {"data": data, "metadata": metadata}


def _shown(value: Any) -> str:
    try:
        return _short.repr(value)
    except BaseException as error:  # noqa: BLE001 - the user's own code
        return f"<{type(value).__name__}: its __repr__ has failed with {type(error).__name__}>"


def _size(value: Any) -> int | None:
    return len(value) if type(value) in (list, tuple, dict, set, frozenset) else None


def _members(owner: Any) -> Iterable[tuple[str, Any]]:
    """The members of an object: items of a container, else attributes."""
    if isinstance(owner, Mapping):
        for key in list(owner):
            try:
                yield _shown(key), owner[key]
            except Exception:  # noqa: BLE001 - removed meanwhile, or the user's own code
                continue
    elif isinstance(owner, Sequence | Set):
        for at, item in enumerate(owner if isinstance(owner, Sequence) else list(owner)):
            yield str(at), item
    elif isinstance(owner, ModuleType):
        yield from sorted(vars(owner).items())
    else:
        for name in sorted(set(vars(owner)) if hasattr(owner, "__dict__") else ()):
            yield name, vars(owner)[name]


def modules(startModule: int = 0, moduleCount: int = 0, **_more: Any) -> dict[str, Any]:  # noqa: N803 - DAP's names
    """The modules that have been imported (``modules``)."""
    shown = [
        {"id": id(module), "name": name, "path": file}
        for name, module in sys.modules.copy().items()
        if isinstance(module, ModuleType) and isinstance(file := getattr(module, "__file__", None), str)
    ]
    end = startModule + moduleCount if moduleCount else None
    return {"modules": shown[startModule:end], "totalModules": len(shown)}
