"""JSON as the Jupyter protocol has it."""

from __future__ import annotations

import base64
import datetime
import json
import math
from typing import Any


def encode(value: Any) -> bytes:
    """Encodes the content of a message.

    Bytes become base64 (images of display data), dates ISO 8601. Values that JSON does not have (NaN, infinity,
    keys that are not strings) are converted as ``jupyter_client`` does, instead of failing the cell. Lone surrogates
    become U+FFFD: escapes of them would be valid JSON, but a frontend could not save what it has received.
    """
    try:
        return _encode(value).encode()
    except (TypeError, ValueError):
        return valid_text(_encode(_clean(value))).encode()


def valid_text(text: str) -> str:
    """Returns valid Unicode: pairs of surrogates become the character that they stand for, lone ones U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def decode(raw: bytes) -> Any:
    """Decodes a part of a message. Most metadata and parents are empty: these need no parser."""
    return {} if raw == b"{}" else _decode(raw.decode("utf-8", "surrogatepass"))


def _default(value: Any) -> Any:
    import numbers  # rarely needed

    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return _finite(float(value))
    if hasattr(value, "__iter__"):
        return list(value)
    msg = f"{type(value).__name__} cannot be sent as JSON: {value!r:.200}"
    raise TypeError(msg)


# Made once: `json.dumps` makes an encoder for each call with other options than the defaults, and `json.loads` detects
# the encoding.
_encode = json.JSONEncoder(default=_default, ensure_ascii=False, allow_nan=False).encode
_decode = json.JSONDecoder().decode


def _finite(value: float) -> float | str:
    # float's: a subclass such as NumPy's has a repr of its own.
    return value if math.isfinite(value) else float.__repr__(value)


def _clean(value: Any) -> Any:
    """Converts a value, and all in it, to what `_encode` takes."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, dict):
        return {_key(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return _clean(_default(value))


def _key(key: Any) -> str:
    if isinstance(key, str):
        # Escapes, where `valid_text` would make two keys the same.
        return key.encode("utf-8", "backslashreplace").decode()
    return json.dumps(key) if isinstance(key, bool) or key is None else str(key)
