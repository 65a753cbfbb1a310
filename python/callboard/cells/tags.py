"""What the tags of a cell ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tags:
    """What the tags of a cell ask for."""

    #: The cell is expected to fail: cells behind it run if it does, and it fails if it does not.
    raises_exception: bool = False
    #: Whether cells behind it are aborted when it fails; None: as the client said.
    stop_on_error: bool | None = None
    #: How long it may take, seconds.
    timeout: float | None = None
    #: A failure is not shown; the cell counts as successful.
    suppress_error: bool = False

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> Tags:
        """Reads ``raises-exception``, ``stop-on-error=true|false``, ``timeout=SECONDS`` and ``suppress-error``. Other
        tags are other people's, and what cannot be read counts as not said."""
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
        """Whether a failure aborts the cells behind; None: as the client said."""
        if self.stop_on_error is None and (self.raises_exception or self.timeout):
            return False
        return self.stop_on_error


_NO_TAGS = Tags()
