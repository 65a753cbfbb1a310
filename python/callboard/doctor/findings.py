"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["ok", "skipped", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One finding. Its code is unique among those of its check, and stays the same in later releases."""

    level: Level
    code: str
    #: What was found: one line.
    text: str
    #: How to mend it: one line. None: there is nothing to mend.
    mend: str | None = None
    #: Facts for programs, such as times in seconds. JSON.
    facts: dict[str, Any] = field(default_factory=dict)


def ok(text: str, **facts: Any) -> Finding:
    """A check that found nothing wrong."""
    return Finding("ok", "ok", text, None, facts)


def skipped(text: str) -> Finding:
    """A check that could not be made because of what another one has found, or was not asked for."""
    return Finding("skipped", "skipped", text)


def warning(code: str, text: str, mend: str, **facts: Any) -> Finding:
    """Something that does not keep kernels from working, but may surprise."""
    return Finding("warning", code, text, mend, facts)


def error(code: str, text: str, mend: str, **facts: Any) -> Finding:
    """Something that keeps kernels from working."""
    return Finding("error", code, text, mend, facts)
