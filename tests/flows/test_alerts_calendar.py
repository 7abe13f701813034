"""The business calendar: days, hours, holidays and summer time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_porting.errors import SettingsError
from telnyx_porting.flows.alerts.bodies import body, mail
from telnyx_porting.flows.alerts.channels import Channel
from telnyx_porting.flows.findings.wording import day, in_working_days
from telnyx_porting.settings import load
from telnyx_porting.settings.calendar import Calendar, calendar_of
from tests.support.watched import Watched, quick, write_time

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

VIENNA = Calendar("Europe/Vienna", frozenset(range(5)), time(9), time(17), ("AT",))
ZONES = ("UTC", "America/Los_Angeles", "Australia/Sydney", "Asia/Kolkata", "Pacific/Kiritimati")
ALWAYS = Calendar("UTC", frozenset(range(7)), time(0), time(0), ())


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        (utc(2026, 9, 16, 10), utc(2026, 9, 16, 10)),  # Wednesday noon in Vienna
        (utc(2026, 9, 16, 16), utc(2026, 9, 17, 7)),  # Wednesday evening
        (utc(2026, 9, 18, 15), utc(2026, 9, 21, 7)),  # Friday at closing time -> Monday
        (utc(2026, 10, 23, 20), utc(2026, 10, 27, 8)),  # over the end of summer time and a holiday on Monday 26 Oct
        (utc(2026, 12, 24, 20), utc(2026, 12, 28, 8)),  # Christmas on Friday, St Stephen's on Saturday
    ],
)
def test_next_opening(at: datetime, opens: datetime) -> None:
    assert VIENNA.next_open(at) == opens


def test_working_time_leaves_out_nights_weekends_and_holidays() -> None:
    friday, tuesday = utc(2026, 10, 23, 14), utc(2026, 10, 27, 9)
    assert VIENNA.working_time(friday, tuesday) == timedelta(hours=2)
    assert VIENNA.after_working_time(friday, timedelta(hours=2)) == tuesday
    assert VIENNA.working_days_between(friday, tuesday) == 1
    assert VIENNA.working_days_before(tuesday, 1) == utc(2026, 10, 23, 8), "the same clock time, in summer time"


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.integers(0, 200))
def test_waiting_for_working_time_waits_exactly_so_long(naive: datetime, hours: int) -> None:
    since, wait = naive.replace(tzinfo=UTC), timedelta(hours=hours)
    for calendar in (VIENNA, ALWAYS):
        assert calendar.working_time(since, calendar.after_working_time(since, wait)) == wait


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)))
def test_the_next_opening_is_open_and_nothing_before_it_is(naive: datetime) -> None:
    at = naive.replace(tzinfo=UTC)
    opens = VIENNA.next_open(at)
    assert VIENNA.working_time(opens, opens + timedelta.resolution) == timedelta.resolution
    assert VIENNA.working_time(at, opens) == timedelta(0)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BUSINESS_ZONE", "Mars/Olympus", "a time zone such as"),
        ("BUSINESS_DAYS", "mon-fry", "weekdays such as"),
        ("BUSINESS_HOURS", "17:00-09:00", "hours such as"),
        ("BUSINESS_HOLIDAYS", "US-XX", "no country such as"),
        ("DIGEST_AT", "8 o'clock", "a time such as"),
        ("OVERDUE_AFTER", "submitted:many", "not like"),
        ("ALERT_CHANNELS", "team:teams", "neither mail nor"),
        ("ALERT_FILTERS", '{"mail": {"severity": "urgent"}}', "critical"),
    ],
)
def test_impossible_setting_is_one_sentence_and_the_default_stays(name: str, value: str, expected: str) -> None:
    settings = load("a", {f"TELNYX_PORTING_{name}": value})
    (problem,) = settings.problems
    assert name in str(problem)
    assert expected in str(problem)
    assert getattr(settings, name.lower()) == getattr(load("a", {}), name.lower())
    with pytest.raises(SettingsError):
        settings.require_valid()


@pytest.mark.parametrize(
    ("zone", "now", "at", "said"),
    [
        ("America/Los_Angeles", utc(2026, 9, 19, 3), utc(2026, 9, 19, 17), "before the next working day"),  # Fri 20:00
        ("Australia/Sydney", utc(2026, 9, 17, 23), utc(2026, 9, 18, 1, 30), "today"),  # Fri 09:00 and 11:30
        ("Australia/Sydney", utc(2026, 9, 17, 23), utc(2026, 9, 18, 22), "before the next working day"),  # Sat 08:00
        ("UTC", utc(2026, 9, 19, 3), utc(2026, 9, 19, 17), "today"),
        ("Pacific/Auckland", utc(2026, 9, 17, 23), utc(2026, 9, 18, 13), "before the next working day"),  # Fri, Sat
    ],
)
def test_today_is_the_desks(zone: str, now: datetime, at: datetime, said: str) -> None:
    calendar = Calendar(zone, frozenset(range(5)), time(9), time(17), ())
    assert in_working_days(at, now, calendar) == said


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.integers(-96, 96), st.sampled_from(ZONES))
def test_what_is_today_has_the_date_of_today(naive: datetime, hours: int, zone: str) -> None:
    now = naive.replace(tzinfo=UTC)
    at = now + timedelta(hours=hours)
    calendar = Calendar(zone, frozenset(range(5)), time(9), time(17), ())
    same = day(at, now, zone) == day(now, now, zone)
    assert (in_working_days(at, now, calendar) == "today") == same


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("kind", ["slack", "mail"])
def test_every_day_that_a_message_names_is_the_desks(ledger: Ledger, kind: str, zone: str) -> None:
    name = kind if kind == "mail" else f"c:{kind}"
    knobs = {"business_zone": zone, "alert_channels": (name,), "mail_to": ("a@example.com",)}
    for hour in range(0, 24, 6):
        now = utc(2026, 9, 20, hour)
        watched = Watched(ledger, quick(**knobs, console_url="https://air.example.com"), now, account=f"at_{hour}")
        watched.cycle()
        dates = dict.fromkeys(("foc_datetime_actual", "foc_datetime_requested"), write_time(now))
        watched.reading(1, "exception", activation_settings=dates)
        watched.cycle()
        said = "".join(str((mail(told).html, body(Channel(name, "c", kind), told))) for _, told in watched.sent)
        there = now.astimezone(ZoneInfo(zone))
        assert set(re.findall(r"\d+ Sep|\d+-09-\d+ ", said)) == {f"{there.day} Sep"}


def test_calendar_of_settings() -> None:
    settings = load("a", {"TELNYX_PORTING_BUSINESS_DAYS": "sat-mon", "TELNYX_PORTING_BUSINESS_HOURS": "22:00-24:00"})
    calendar = calendar_of(settings)
    assert calendar.days == {5, 6, 0}
    assert calendar.day_length == timedelta(hours=2)
    assert calendar.next_open(utc(2026, 9, 19, 23, 59)) == utc(2026, 9, 19, 23, 59)
    assert calendar.working_time(utc(2026, 9, 20), utc(2026, 9, 20, 22)) == timedelta(0)
