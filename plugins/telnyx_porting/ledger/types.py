"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Dialect,
    Text,
    bindparam,
    func,
    literal,
    literal_column,
)
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Times read from the ledger lie between these two, whatever stands there: what is added to them cannot overflow."""
LONGEST_WORD = 600
"""Bytes of text in a key or an index: PostgreSQL's index rows hold 2 700."""
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
        return microseconds(value) if isinstance(value, datetime) else value

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return EPOCH + timedelta(microseconds=value if 0 <= value <= _LATEST else _LATEST if value > 0 else 0)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Let plain integers (durations in microseconds) take part in arithmetic."""
        return BigInteger() if isinstance(value, int) else self


_LATEST = microseconds(LATEST)


def instant(value: datetime) -> BindParameter[datetime]:
    """Return a time as the ledger writes it, for use inside SQL functions, which know no column's type."""
    return literal(value, Instant())


def fixed(*values: str) -> Any:
    """Write values into the statement itself, so that a partial index is recognised: ``column.in_(fixed(...))``."""
    return bindparam(None, [str(value) for value in values], expanding=True, literal_execute=True)


def exactly(value: str) -> BindParameter[str]:
    """Write one value into the statement itself, for a comparison."""
    return literal(str(value), literal_execute=True)


class Lossless(TypeDecorator[str]):
    """Any Python text, NUL and lone surrogates included (PostgreSQL's text refuses both); escaped only when needed."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect | None) -> str | None:
        """Escape text that a database would refuse or change."""
        if value is None or not ("\x00" in value or value.startswith(_MARK) or not _encodable(value)):
            return value
        return _MARK + json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or not value.startswith(_MARK):
            return value
        try:
            text = json.loads(value[1:])
        except ValueError:  # never written by us; one such row must not keep others from being read
            return value
        return text if isinstance(text, str) else value

    def bind_all(self, values: list[str | None]) -> list[str | None]:
        """Escape a column of text: nearly always there is nothing to do, which one look at all of it tells."""
        together = "".join(filter(None, values))
        if "\x00" not in together and _MARK not in together and _encodable(together):
            return values
        return [None if value is None else self.process_bind_param(value, None) for value in values]


class Word(Lossless):
    """Text in a key or an index. It is lossless up to :data:`LONGEST_WORD`; beyond, its beginning and its hash remain.

    The same text is written the same everywhere, so it is found by it, and equal in two tables.
    """

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect | None) -> str | None:
        """Escape text that a database would refuse or change, and shorten what no index would take."""
        written = super().process_bind_param(value, dialect)
        if value is None or written is None or len(written) <= LONGEST_WORD // 4 or _fits(written):
            return written
        digest = hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()
        return "".join(c if c.isprintable() else "?" for c in value[: LONGEST_WORD // 8]) + f"...{digest}"

    def bind_all(self, values: list[str | None]) -> list[str | None]:
        if max((len(value) for value in values if value), default=0) <= LONGEST_WORD // 4:
            return super().bind_all(values)
        return [self.process_bind_param(value, None) for value in values]


def _fits(written: str) -> bool:
    return len(written.encode(errors="replace")) <= LONGEST_WORD


def _encodable(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Name(Lossless):
    """What people call something: found by its beginning, so compared byte by byte whatever the database's language."""

    cache_ok = True
    impl = Text().with_variant(Text(collation="C"), "postgresql")  # type: ignore[assignment]


BEGINNING = 60
"""Characters of a name by which it is found."""


def beginning(column: ColumnElement[str]) -> ColumnElement[str]:
    """Return SQL: how a name begins, in small letters; an index holds it in these very words."""
    return func.lower(func.substr(column, literal_column("1"), literal_column(str(BEGINNING))), type_=Text())


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
        """Parse; SQL NULL is None, and so is what does not parse: it must not keep other rows from being read."""
        try:
            return None if value is None else json.loads(value)
        except (ValueError, RecursionError):
            return None
