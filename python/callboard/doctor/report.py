"""Shows findings: lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, TextIO

from .. import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .findings import Finding
    from .installation import Installation

#: The version of the format of the JSON. It rises when a key goes or changes its meaning, not when one is added.
FORMAT = 1

_SIGNS = {"ok": "✓", "skipped": "-", "warning": "!", "error": "✗"}
_ASCII = {"ok": "+", "skipped": "-", "warning": "!", "error": "x"}

#: Columns of the names of the checks.
_WIDTH = 11


class Lines:
    """Writes one line for each finding, and one below it that says how to mend it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        encoding = out.encoding or "ascii"
        try:
            "".join(_SIGNS.values()).encode(encoding)
            self._signs, self._arrow = _SIGNS, "→"
        except (UnicodeEncodeError, LookupError):
            self._signs, self._arrow = _ASCII, "->"

    def write(self, check: str, finding: Finding) -> None:
        self._line(f"{self._signs[finding.level]} {check:{_WIDTH}} {finding.text}")
        if finding.mend:
            self._line(f"  {'':{_WIDTH}} {self._arrow} {finding.mend}")
        for line in finding.facts.get("terminal", ()):
            self._line(f"  {'':{_WIDTH}} | {line}")

    def end(self, rows: Sequence[tuple[str, Finding]]) -> None:
        """Writes the sum."""
        wrong = sum(finding.level == "error" for _, finding in rows)
        odd = sum(finding.level == "warning" for _, finding in rows)
        parts = [_count(wrong, "error"), _count(odd, "warning")]
        self._line(", ".join(part for part in parts if part) or "Nothing is wrong.")

    def _line(self, text: str) -> None:
        # One line, whatever a path or an error text contains.
        shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
        encoding = self._out.encoding or "ascii"
        print(shown.encode(encoding, "backslashreplace").decode(encoding), file=self._out, flush=True)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}" if number else ""


def as_json(rows: Sequence[tuple[str, Finding]], installation: Installation) -> str:
    """All findings as JSON. docs/doctor.md describes the keys."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "callboard": __version__,
        "python": {
            "executable": sys.executable,
            "version": ".".join(map(str, sys.version_info[:3])),
            "prefix": sys.prefix,
        },
        "kernel": installation.kernel,
        "folder": str(installation.folder),
        "ok": all(finding.level != "error" for _, finding in rows),
        "findings": [
            {
                "check": check,
                "level": finding.level,
                "code": finding.code,
                "text": finding.text,
                "mend": finding.mend,
                "facts": finding.facts,
            }
            for check, finding in rows
        ],
    }
    return json.dumps(content, indent=1)
