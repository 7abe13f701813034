"""Results as they leave: foreign text is written so that whoever carries it can."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import orjson

_NO_TRANSPORT = re.compile("[\x00\ud800-\udfff]")


def for_airflow(value: Any) -> Any:
    """
    Return values as XComs and events of triggers take them: JSON, times as ISO 8601.

    Airflow's processes speak UTF-8, which has no lone surrogates (half an emoji), and PostgreSQL's JSON has no NUL:
    each becomes U+FFFD. Everything else stays as it is.

    :param value: JSON values and times, in lists, tuples and dictionaries
    """
    if isinstance(value, str):
        return _NO_TRANSPORT.sub("\ufffd", value)
    if isinstance(value, dict):
        return {for_airflow(name): for_airflow(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [for_airflow(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def json_line(value: Any) -> bytes:
    """
    Return JSON values as one line of a file, exactly: UTF-8, and escapes where UTF-8 has no character.

    :param value: JSON values
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # lone surrogates and huge integers, which JSON can carry
        return json.dumps(value, separators=(",", ":")).encode() + b"\n"
