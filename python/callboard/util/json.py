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
    keys that are not strings) are converted as ``jupyter_client`` does, instead of failing the cell.
    """
    try:
        return _encode(value).encode()
    except (TypeError, ValueError):
        # Lone surrogates too: UTF-8 cannot carry them, ASCII escapes can.
        return json.dumps(_clean(value), default=_default, allow_nan=False).encode()


def decode(raw: bytes) -> Any:
    """Decodes a part of a message. Most metadata and parents are empty: these need no parser."""
    return {} if raw == b"{}" else _decode(raw.decode("utf-8", "surrogatepass"))


def _default(value: Any) -> Any:
    import numbers  # rarely needed

    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime.datetime):
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
    return value if math.isfinite(value) else repr(value)


def _clean(value: Any) -> Any:
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, dict):
        return {_key(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(item) for item in value]
    return value


def _key(key: Any) -> str:
    if isinstance(key, str):
        # Frontends read UTF-8, which has no lone surrogates.
        return key.encode("utf-8", "backslashreplace").decode()
    return json.dumps(key) if isinstance(key, bool) or key is None else str(key)
