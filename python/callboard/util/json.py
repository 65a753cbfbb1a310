"""Python values as the JSON that the Jupyter protocol wants."""

from __future__ import annotations

import base64
import datetime
import json
import math
from typing import Any


def encode(value: Any) -> bytes:
    """JSON of a message's content.

    Bytes become base64 (images of display data), dates ISO 8601. What is not valid JSON (NaN, infinity,
    keys that are not strings) is converted as ``jupyter_client`` does, instead of failing a whole cell.
    """
    try:
        return _encode(value).encode()
    except (TypeError, ValueError):
        # Lone surrogates end here too: ASCII escapes can carry them.
        return json.dumps(_clean(value), default=_default, allow_nan=False).encode()


def decode(raw: bytes) -> Any:
    """What JSON of a message says. Most metadata and parents are empty: no parser is needed."""
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


#: `json.dumps` makes an encoder anew for each call that is not by its defaults; `json.loads` looks for other encodings.
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
        # JSON of the outside world is UTF-8: a lone surrogate has no place in a key.
        return key.encode("utf-8", "backslashreplace").decode()
    return json.dumps(key) if isinstance(key, bool) or key is None else str(key)
