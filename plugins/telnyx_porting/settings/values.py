"""How settings are written: durations, lists, working days, limits. Each says in words what would be right."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from email.policy import default as email_policy
from typing import Annotated, Any, Literal, NamedTuple, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> Any:
    """Turn ``90``, ``"90s"``, ``"15m"``, ``"4h"`` or ``"2d"`` into a timedelta; leave anything else to pydantic."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd]?)", value.strip())
    if match is None:
        raise ValueError("a duration such as 90s, 15m, 4h or 2d")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("a duration of zero or more")
    return value


def _channels(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name != "mail" and not re.fullmatch(r"[\w.-]+:(json|slack|pagerduty|alertmanager)", name):
            raise ValueError(f"{name!r} is neither mail nor <connection id>:<json|slack|pagerduty|alertmanager>")
    return tuple(dict.fromkeys(value))


WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Severity = Literal["critical", "high", "low"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the most severe first
CRITICAL, HIGH, LOW = SEVERITIES
_APART = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^,;"])+')  # a comma in quotes is part of a name
_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z0-9][A-Za-z0-9.-]*")
_LIMIT = re.compile(r"([a-z-]+)(?:@([A-Z]{2})?(?:/([a-z_]+))?)?:([0-9]{1,3})([dh])")


def rank(severity: str) -> int:
    """Return a number that is the smaller the more severe; a word of somebody else counts as the least severe."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES) - 1


class Limit(NamedTuple):
    """How long an order may stay in a status, in working days or working hours."""

    status: str
    country: str | None
    number_type: str | None
    amount: int
    unit: str  # d: working days, h: working hours


class ChannelFilter(BaseModel):
    """What one channel takes; what is left out, it takes all of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity = LOW  # the least severe it takes
    kinds: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    references: tuple[str, ...] = ()  # patterns for the customer's reference, with * and ?


def _limits(value: Any) -> Any:
    texts = _split(value)
    if not isinstance(texts, (list, tuple)):
        return texts
    limits = []
    for text in texts:
        match = _LIMIT.fullmatch(text) if isinstance(text, str) else None
        if match is None and not isinstance(text, Limit):
            raise ValueError(
                f"{text!r} is not like submitted:7d, activation-in-progress:4h or submitted@US/toll_free:9d"
            )
        limits.append(Limit(match[1], match[2], match[3], int(match[4]), match[5]) if match else text)
    return limits


def _recipients(value: Any) -> Any:
    """Read addresses, with or without names, separated by commas or semicolons; give the bare ones, each once."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        return texts
    parts = [part.strip() for text in texts for part in _APART.findall(str(text))]
    return tuple(dict.fromkeys(_recipient(part) for part in parts if part))


def _recipient(text: str) -> str:
    try:
        found = email_policy.header_factory("To", text)
        ((name, domain),) = [(address.username, address.domain) for address in found.addresses]
        address = f"{name}@{domain.encode('idna').decode()}"
    except (ValueError, IndexError):
        raise ValueError(f"{text!r} is no mail address such as desk@example.net") from None
    if not name.isascii():
        raise ValueError(f"{text!r} has letters before its @ that few mail servers take")
    if found.defects or not domain or not _ADDRESS.fullmatch(address):
        raise ValueError(f"{text!r} is no mail address such as desk@example.net")
    return address


def _days(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    days: list[int] = []
    for part in value.lower().split(","):
        first, _, last = part.strip().partition("-")
        if first not in WEEKDAYS or (last or first) not in WEEKDAYS:
            raise ValueError("weekdays such as mon-fri or mon,tue,sat")
        start, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
        days += range(start, end + 1) if end >= start else [*range(start, 7), *range(end + 1)]
    return sorted(set(days))


def _hours(value: str) -> str:
    match = re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)", value)
    if match is None or value[6:] <= value[:5]:
        raise ValueError("hours such as 09:00-17:00 or 00:00-24:00")
    return value


def _clock(value: str) -> str:
    if value != "off" and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("a time such as 08:00, or off")
    return value


def site(value: str) -> str:
    """Return the address of a web site, without a slash at its end; empty stays empty.

    :raises ValueError: it is none that a browser opens.
    """
    parts = urlsplit(value) if re.fullmatch(r"[\w.:/%~+?#@\[\]-]{1,500}", value, re.ASCII) else urlsplit("")
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc):
        raise ValueError("an address such as https://airflow.example.com")
    if parts.query or parts.fragment:
        raise ValueError("an address without ? and #")
    return value.rstrip("/")


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise ValueError("a time zone such as Europe/Vienna") from error
    return value


def _holidays(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        return value
    from holidays import list_supported_countries  # slow to import

    known = list_supported_countries()
    for name in value:
        country, _, part = name.partition("-")
        if country not in known or (part and part not in known[country]):
            raise ValueError(f"{name!r} is no country such as US, or part of one such as US-CA")
    return value


def _json(example: str) -> BeforeValidator:
    def read(value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(f"a JSON object such as {example}") from None

    return BeforeValidator(read)


Duration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_not_negative)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Channels = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_channels)]
Limits = Annotated[tuple[Limit, ...], BeforeValidator(_limits)]
Days = Annotated[tuple[int, ...], BeforeValidator(_days)]
Columns = Annotated[dict[str, str], _json('{"body": "payload"}')]
Filters = Annotated[dict[str, ChannelFilter], _json('{"on_call:pagerduty": {"severity": "critical"}}')]
Recipients = Annotated[tuple[str, ...], BeforeValidator(_recipients)]
Durations = Annotated[tuple[Duration, ...], BeforeValidator(_split)]
Site = Annotated[str, AfterValidator(site)]
Zone = Annotated[str, AfterValidator(_zone)]
Hours = Annotated[str, AfterValidator(_hours)]
Clock = Annotated[str, AfterValidator(_clock)]
Holidays = Annotated[Names, AfterValidator(_holidays)]
