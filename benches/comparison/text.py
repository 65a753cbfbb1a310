"""Numbers as text that is easy to read."""

from __future__ import annotations


def number(value: float) -> str:
    """Three digits that count, thousands with commas."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        digits = len(str(int(abs(value))))
        return f"{round(value, 3 - digits):,.0f}"
    return f"{value:.3g}"


def size(count: int) -> str:
    """A number of bytes, with a unit."""
    for unit, factor in (("MB", 2**20), ("KB", 2**10)):
        if count >= factor:
            return f"{count // factor} {unit}"
    return f"{count} bytes"
