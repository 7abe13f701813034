"""Reading values that may be missing or oddly shaped, and times as Telnyx writes them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, NoReturn

import orjson

YEARS = range(1971, 2100)
"""Years of times that are meant. Others are placeholders (1, 1970, 9999), and arithmetic on them may overflow."""
LONGEST_ID = 200
"""Characters of an id. Telnyx's have 36; an index of a database takes no row of any length."""
LARGEST_COUNT = 2**31 - 1
"""What a whole number is at most, to be kept."""


def parse_time(text: object) -> datetime | None:
    """
    Read an ISO 8601 time, with or without fraction, with ``Z`` or a numeric offset, as UTC.

    Every foreign time comes in through here or :func:`meant`, so that whatever is added to it cannot overflow.

    :param text: what the API wrote; anything that is no time, or out of :data:`YEARS`, reads as None, a time without
        offset as UTC
    """
    moment = _written(text)
    return moment if moment is not None and moment.year in YEARS else None


def meant(moment: datetime) -> datetime | None:
    """Return a foreign time in UTC; None where it is out of :data:`YEARS`. Without a zone it is UTC."""
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None
    return moment if moment.year in YEARS else None


def _written(text: object) -> datetime | None:
    """Read a time of any year: to be compared and written, not to be reckoned with."""
    if not isinstance(text, str) or len(text) < 19:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is UTC:
        return moment
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:  # at the ends of the calendar its offset is left out
        return moment.replace(tzinfo=UTC)


def _written_precision(text: str) -> int:
    """Count the digits of the fraction of a second as written (0 to 6)."""
    fraction = re.match(r"[.,](\d{0,6})", text[19:])
    return len(fraction[1]) if fraction else 0


def same_instant(a: str | None, b: str | None) -> bool:
    """
    Compare two written times at the coarser of their written precisions.

    Telnyx writes the same instant with microseconds in one place and whole seconds in another. What is missing or no
    time equals nothing.
    """
    one, other = _written(a), _written(b)
    if a is None or b is None or one is None or other is None:
        return False
    unit = 10 ** (6 - min(_written_precision(a), _written_precision(b)))
    cut_one = one.replace(microsecond=one.microsecond - one.microsecond % unit)
    cut_other = other.replace(microsecond=other.microsecond - other.microsecond % unit)
    return cut_one == cut_other


def second_of(text: object) -> str | None:
    """Write a time to the whole second, in UTC, without offset: the part every writer agrees on."""
    moment = _written(text)
    return moment.isoformat(timespec="seconds")[:19] if moment else None


def text_of(value: object) -> str | None:
    return value if isinstance(value, str) else None


def flag_of(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def number_of(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_COUNT:
        return value
    return None


def dict_of(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def items_of(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def id_of(raw: object, what: str) -> str:
    """
    Read the id of a row.

    :param what: what the row is, for the error
    :raises ValueError: in a few words, when it has none that can be kept: such a row can be neither told nor stored
    """
    if not isinstance(raw, dict):
        raise ValueError("no object")
    value = raw.get("id")
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what} without id")
    if len(value) > LONGEST_ID:
        raise ValueError(f"{what} with an id of {len(value)} characters")
    return value


def details_of(status: dict[str, Any]) -> tuple[tuple[str, str | None], ...]:
    return tuple(
        (detail["code"], text_of(detail.get("description")))
        for detail in items_of(status.get("details"))
        if isinstance(detail, dict) and isinstance(detail.get("code"), str)
    )


def load_json(body: bytes) -> Any:
    """
    Decode JSON, losslessly: orjson refuses lone surrogates, which JSON allows and a comment may hold.

    :raises ValueError: when it is not JSON; ``NaN`` is not
    """
    try:
        return orjson.loads(body)
    except ValueError:
        try:
            return json.loads(body, parse_constant=_no_constant)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
