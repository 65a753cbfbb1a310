"""Binary buffers of messages."""

from __future__ import annotations

from typing import Any


def contiguous(buffer: Any) -> memoryview:
    """Returns any buffer as contiguous bytes, copied if necessary (a NumPy array may be neither)."""
    view = memoryview(buffer)
    # An empty array of several dimensions cannot be cast.
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())
