"""Reads the tags of a cell."""

from __future__ import annotations

import math
from typing import Any


class Tags:
    """What the tags of a cell ask for."""

    # No dataclass: to generate one adds 0.6 ms to the start.
    def __init__(
        self,
        raises_exception: bool = False,
        stop_on_error: bool | None = None,
        timeout: float | None = None,
        suppress_error: bool = False,
    ) -> None:
        #: The cell must fail. Later cells run although it does; if it succeeds, it counts as failed.
        self.raises_exception = raises_exception
        #: Whether a failure aborts the later cells. None: ``stop_on_error`` of the request decides.
        self.stop_on_error = stop_on_error
        #: The time limit, seconds.
        self.timeout = timeout
        #: A failure is not shown, and the cell counts as successful.
        self.suppress_error = suppress_error

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> Tags:
        """Reads ``raises-exception``, ``stop-on-error=true|false``, ``timeout=SECONDS`` and ``suppress-error``. Ignores
        other tags and values that cannot be read."""
        tags = metadata.get("tags")
        if not tags or not isinstance(tags, (list, tuple)):
            return _NO_TAGS
        found: dict[str, Any] = {}
        for tag in tags:
            name, _, value = str(tag).partition("=")
            value = value.strip().lower()
            match name.strip().replace("_", "-"):
                case "raises-exception":
                    found["raises_exception"] = True
                case "suppress-error":
                    found["suppress_error"] = True
                case "stop-on-error" if value in ("true", "false", ""):
                    found["stop_on_error"] = value != "false"
                case "timeout":
                    try:
                        seconds = float(value)
                    except ValueError:
                        continue
                    if seconds > 0 and not math.isinf(seconds):
                        found["timeout"] = seconds
        return cls(**found)

    def aborts_others(self) -> bool | None:
        """Whether a failure aborts the later cells. None: ``stop_on_error`` of the request decides."""
        if self.stop_on_error is None and (self.raises_exception or self.timeout):
            return False
        return self.stop_on_error


_NO_TAGS = Tags()
