"""The business calendar: when people work, how much working time has passed, when the next working moment is.

Holidays come from the `holidays` library. Times go in and out as UTC; days and hours are those of the calendar's zone,
so a change of summer time moves the opening hour, not the length of a wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telnyx_porting.settings import Settings

_LOOK_AHEAD = 366  # days; a calendar without a working day in a year is a mistake


@dataclass(frozen=True)
class Calendar:
    """Working days, hours and holidays in one zone.

    :param days: working weekdays, Monday = 0.
    :param opens: start of the working day, local time.
    :param closes: its end; midnight means the end of that day.
    :param holidays: ``US`` or ``US-CA``: country, and subdivision, whose public holidays nobody works on.
    """

    zone: str
    days: frozenset[int]
    opens: time
    closes: time
    holidays: tuple[str, ...]

    def next_open(self, at: datetime) -> datetime:
        """Return the moment itself when people work then, else the next opening."""
        for start, end in self._hours(at, at + timedelta(days=_LOOK_AHEAD)):
            if at < end:
                return max(at, start)
        return at

    def at_on_working_day(self, clock: time, after: datetime) -> datetime:
        """Return the next moment, later than `after`, when this clock time comes on a working day."""
        day = self.day(after)
        for offset in range(_LOOK_AHEAD):
            moment = self._moment(day + timedelta(days=offset), clock)
            if moment > after and self._works(day + timedelta(days=offset)):
                return moment
        return after + timedelta(days=1)

    def next_working_day(self, after: datetime) -> datetime:
        """Return the opening of the next working day."""
        return self.at_on_working_day(self.opens, self._moment(self.day(after), time(23, 59, 59)))

    def working_time(self, since: datetime, until: datetime) -> timedelta:
        parts = (min(end, until) - max(start, since) for start, end in self._hours(since, until))
        return sum((part for part in parts if part > timedelta(0)), timedelta(0))

    def after_working_time(self, since: datetime, wait: timedelta) -> datetime:
        """Return the moment when so much working time has passed."""
        left = wait
        for start, end in self._hours(since, since + timedelta(days=_LOOK_AHEAD)):
            begin = max(start, since)
            if end - begin >= left:
                return begin + left
            left -= max(end - begin, timedelta(0))
        return since + wait

    def working_days_before(self, at: datetime, days: int) -> datetime:
        """Return the same clock time so many working days earlier."""
        local = at.astimezone(self._zone)
        day = local.date()
        for _ in range(_LOOK_AHEAD):
            if days <= 0:
                break
            day -= timedelta(days=1)
            days -= self._works(day)
        return self._moment(day, local.time())

    def working_days_between(self, since: datetime, until: datetime) -> int:
        """Count working days after the day of `since` up to the day of `until`; negative when `until` is earlier."""
        first, last = self.day(since), self.day(until)
        if last < first:
            return -self.working_days_between(until, since)
        return sum(self._works(first + timedelta(days=n + 1)) for n in range((last - first).days))

    @property
    def day_length(self) -> timedelta:
        end = timedelta(hours=24) if self.closes == time(0) else _since_midnight(self.closes)
        return end - _since_midnight(self.opens)

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    def day(self, at: datetime) -> date:
        """Return the day on which a moment is, in the calendar's zone."""
        return at.astimezone(self._zone).date()

    def _moment(self, day: date, clock: time) -> datetime:
        return datetime.combine(day, clock, self._zone).astimezone(UTC)

    def _works(self, day: date) -> bool:
        return day.weekday() in self.days and not any(day in _holidays(name, day.year) for name in self.holidays)

    def _hours(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        day, last = self.day(since), self.day(until)
        while day <= last:
            if self._works(day):
                next_day = day + timedelta(days=1)
                end = self._moment(next_day, time(0)) if self.closes == time(0) else self._moment(day, self.closes)
                yield self._moment(day, self.opens), end
            day += timedelta(days=1)


def _since_midnight(clock: time) -> timedelta:
    return timedelta(hours=clock.hour, minutes=clock.minute)


@lru_cache(maxsize=256)
def _holidays(name: str, year: int) -> Mapping[date, str]:
    import holidays  # slow to import, and only needed once somebody asks

    country, _, subdivision = name.partition("-")
    found: Mapping[date, str] = holidays.country_holidays(country, subdiv=subdivision or None, years=year)
    return found


def calendar_of(settings: Settings) -> Calendar:
    opens, _, closes = settings.business_hours.partition("-")
    return Calendar(
        zone=settings.business_zone,
        days=frozenset(settings.business_days),
        opens=time.fromisoformat(opens),
        closes=time(0) if closes == "24:00" else time.fromisoformat(closes),
        holidays=settings.business_holidays,
    )
