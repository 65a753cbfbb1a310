"""The request that code runs for, under the names that IPython and ipykernel have for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...context import Parent, current_parent
from ...util.json import encode

if TYPE_CHECKING:
    from contextvars import Token

    from .base import ShellPart
else:
    ShellPart = object

#: The latest messages that were given to `set_parent`, for `get_parent`.
_given_parents: dict[Parent, dict[str, Any]] = {}
_KEPT_PARENTS = 100


class RequestParent(ShellPart):
    """Tells and sets which request the output of the calling code belongs to."""

    #: The request that began last, in any thread.
    _foreground: Parent | None = None

    @property
    def parent_request(self) -> Parent | None:
        """The request that the calling code runs for; where that is not known, the one that began last."""
        return current_parent.get(None) or self._foreground

    @property
    def parent_header(self) -> dict[str, Any]:
        """The request that the calling code runs for, as a message dict."""
        parent = self.parent_request
        if parent is None:
            return {}
        return _given_parents.get(parent) or parent.message

    @parent_header.setter
    def parent_header(self, parent: dict[str, Any]) -> None:
        self.set_parent(parent)

    def get_parent(self) -> dict[str, Any]:
        """The request that the calling code runs for, as a message dict."""
        return self.parent_header

    def set_parent(self, parent: dict[str, Any]) -> None:
        """Lets output of the calling context belong to this request (a message dict) from now on."""
        self._foreground = self._as_parent(parent)
        current_parent.set(self._foreground)

    def set_thread_parent(self, parent: dict[str, Any]) -> Token[Parent | None]:
        """Like `set_parent`, for the calling thread only. Returns the token for `reset_thread_parent`."""
        return current_parent.set(self._as_parent(parent))

    def reset_thread_parent(self, token: Token[Parent | None]) -> None:
        """Undoes the `set_thread_parent` that returned the token."""
        current_parent.reset(token)

    def _as_parent(self, message: dict[str, Any]) -> Parent:
        """The `Parent` of a message dict, which may be a header alone."""
        like = self.parent_request
        for known in (like, self._foreground):
            if known is not None and known.message is message:
                return known
        header = message.get("header", message)
        header = json.loads(json.dumps(header, default=str))
        for name in ("msg_id", "msg_type"):
            header.setdefault(name, "")
        parent = Parent(encode(header), encode(message.get("metadata", {})), like)
        if "header" in message:
            _given_parents[parent] = message
            while len(_given_parents) > _KEPT_PARENTS:
                _given_parents.pop(next(iter(_given_parents)), None)
        return parent
