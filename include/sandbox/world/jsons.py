"""JSON with all that JSON allows: half an emoji (a lone surrogate), for which UTF-8 has no character, is an escape."""

from __future__ import annotations

import json
from typing import Any

import orjson


def dumps(document: Any) -> bytes:
    """Write JSON."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        return json.dumps(document, separators=(",", ":")).encode()


def loads(raw: bytes) -> Any:
    """Read JSON.

    :raises ValueError: it is none
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return json.loads(raw)
