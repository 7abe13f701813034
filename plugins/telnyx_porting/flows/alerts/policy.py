"""When to speak: severity, working hours, groups and reminders."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from telnyx_porting.settings.calendar import Calendar, calendar_of
from telnyx_porting.settings.values import CRITICAL, LOW

if TYPE_CHECKING:
    from telnyx_porting.flows.alerts.channels import Channel
    from telnyx_porting.settings import Settings

DIGEST = "digest"
REFRESH = timedelta(days=1)  # Alertmanager forgets what it is not told again
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Policy:
    """The policy of one account's alerts.

    What is critical goes out at once, day and night; what is high in working hours; what is low in the daily digest.
    Machines (PagerDuty, Alertmanager) get everything at once: grouping and reminders are theirs.
    """

    settings: Settings
    now: datetime

    @cached_property
    def calendar(self) -> Calendar:
        """The account's working hours."""
        return calendar_of(self.settings)

    def group(self, channel: Channel, kind: str, severity: str) -> str:
        """Name the group in which a finding is told."""
        return DIGEST if severity == LOW and channel.has_digest(self.settings) else f"{kind}/{severity}"

    def first(
        self,
        channel: Channel,
        group: str,
        severity: str,
        key: str,
        last: dict[str, datetime],
        *,
        waited: bool = False,
    ) -> datetime:
        """Return when something new may be said.

        :param last: when this group, and this finding, was last spoken of, as far as the interval reaches back.
        :param waited: it has waited for its group already.
        """
        interval = self.settings.group_interval
        if channel.is_machine:
            return self.now
        if group == DIGEST:
            return self.digest_after(self.now)
        if severity == CRITICAL:
            return max(self.now, last[key] + interval) if key in last else self.now
        at = self.now if waited else self.now + self.settings.group_wait
        if group in last:
            at = max(at, last[group] + interval)
        return self.calendar.next_open(at)

    def reminder(self, channel: Channel, severity: str) -> datetime | None:
        """Return when to remind of something told now; reminders of one kind come together."""
        if channel.kind == "alertmanager":
            return self.now + REFRESH
        if channel.is_machine or severity == LOW:
            return None
        if severity == CRITICAL:
            pause = self.settings.remind_critical
            if not pause:
                return None
            grid = max(pause / 4, timedelta(seconds=1))
            return _EPOCH + -(-(self.now + pause - grid / 2 - _EPOCH) // grid) * grid
        if not self.settings.remind_high_days:
            return None
        at = self.now
        for _ in range(self.settings.remind_high_days):
            at = self.calendar.next_working_day(at)
        return at

    def digest_after(self, at: datetime) -> datetime:
        """Return the first digest after a moment."""
        return self.calendar.at_on_working_day(time.fromisoformat(self.settings.digest_at), at)
