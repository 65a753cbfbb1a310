"""``ipykernel.jsonutil``: what was once necessary to send an object as JSON."""

from __future__ import annotations

from typing import Any


def json_clean(obj: Any) -> Any:
    """Returns the object: what a kernel sends is made fit for JSON when it is encoded, with ipykernel since 6.0."""
    return obj


def encode_images(format_dict: dict[str, Any]) -> dict[str, Any]:
    """Returns the mime bundle: bytes become base64 when it is encoded."""
    return format_dict
