"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import BigInteger, BindParameter, Dialect, Text, bindparam, literal
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARK = "\x01"  # never the first character of stored plain text
_MICROSECOND = timedelta(microseconds=1)


def microseconds(value: datetime | timedelta) -> int:
    """Return a time as microseconds since 1970 UTC, or a duration as microseconds: the ledger's arithmetic."""
    if isinstance(value, timedelta):
        return value // _MICROSECOND
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone; the ledger keeps UTC")
    return (value - EPOCH) // _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """A UTC time with microseconds, kept as an integer: exact, and comparable and addable in SQL on every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | int | None, dialect: Dialect) -> int | None:
        """Turn an aware datetime into microseconds."""
        return microseconds(value) if isinstance(value, datetime) else value

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Turn microseconds into an aware datetime."""
        return None if value is None else EPOCH + timedelta(microseconds=value)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Let plain integers (durations in microseconds) take part in arithmetic."""
        return BigInteger() if isinstance(value, int) else self


def instant(value: datetime) -> BindParameter[datetime]:
    """Return a time as the ledger writes it, for use inside SQL functions, which know no column's type."""
    return literal(value, Instant())


def fixed(*values: str) -> Any:
    """Write values into the statement itself, so that a partial index is recognised: ``column.in_(fixed(...))``."""
    return bindparam(None, list(values), expanding=True, literal_execute=True)


def exactly(value: str) -> Any:
    """Write one value into the statement itself, for a comparison."""
    return literal(value, literal_execute=True)


class Lossless(TypeDecorator[str]):
    """Any Python text, NUL and lone surrogates included (PostgreSQL's text refuses both); escaped only when needed."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect | None) -> str | None:
        """Escape text that a database would refuse or change."""
        if value is None or not _needs_escape(value):
            return value
        return _MARK + json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Undo the escape."""
        if value is None or not value.startswith(_MARK):
            return value
        text = json.loads(value[1:])
        return text if isinstance(text, str) else value

    def bind_all(self, values: list[str | None]) -> list[str | None]:
        """Escape a column of text: nearly always there is nothing to do, which one look at all of it tells."""
        together = "".join(filter(None, values))
        if "\x00" not in together and _MARK not in together and _encodable(together):
            return values
        return [None if value is None else self.process_bind_param(value, None) for value in values]


def _needs_escape(value: str) -> bool:
    return "\x00" in value or value.startswith(_MARK) or not _encodable(value)


def _encodable(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Json(TypeDecorator[Any]):
    """A JSON value as text: lossless for every string JSON can carry, and the same bytes on every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Serialise; None is SQL NULL."""
        if value is None:
            return None
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        except orjson.JSONEncodeError:  # lone surrogates and huge integers, which JSON can carry
            return json.dumps(value, separators=(",", ":"), sort_keys=True)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Parse; SQL NULL is None."""
        return None if value is None else json.loads(value)
