"""Points in time as integers: microseconds since the epoch, and the texts the API writes for them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def iso(us: int) -> str:
    """Write microseconds and ``Z``, as event times are written."""
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds") + "Z"


def iso_ms(us: int) -> str:
    """Write milliseconds and ``Z``, as order and delivery times are written."""
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="milliseconds") + "Z"


def iso_seconds(us: int, zone: str = "Z") -> str:
    """Write whole seconds (cut, not rounded), as the older samples do."""
    return (_EPOCH + timedelta(microseconds=us // SECOND * SECOND)).isoformat() + zone


def parse(text: str) -> int:
    """Read an RFC 3339 date-time.

    :raises ValueError: when the text is no date-time or has no offset.
    """
    if not _RFC3339.fullmatch(text):
        raise ValueError(text)
    try:
        moment = datetime.fromisoformat(text.upper())
        return (moment - _EPOCH_UTC) // timedelta(microseconds=1)
    except OverflowError as error:
        raise ValueError(text) from error
