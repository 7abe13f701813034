"""Telnyx's delivery records of one history: what was tried when, listed while it is tried or after the last try."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.pull import Reading
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.models.records import parse_delivery
from tests.support.rows import OLD

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

URL = "https://crm.example.com/hook"


class Records:
    """All records of one account.

    :param start: minute 0.
    :param while_tried: they are listed from their first try on.
    """

    def __init__(self, ledger: Ledger, account: str, start: datetime, *, while_tried: bool) -> None:
        self._ledger, self._account, self._start, self._while_tried = ledger, account, start, while_tried
        self._webhooks: dict[str, dict[str, Any]] = {}
        self._tries: dict[str, list[tuple[float, bool]]] = defaultdict(list)

    def add(self, record: str, webhook: dict[str, Any], *tries: tuple[float, bool]) -> None:
        """Add tries, each its minute and whether it was taken; a record keeps the webhook that it began with."""
        self._webhooks.setdefault(record, webhook)
        self._tries[record] += tries

    def pull(self, now: float) -> None:
        """Read all that is listed now, and say so."""
        at = self._at(now)
        Reading(Account(self._ledger, self._account), at).take([parse_delivery(raw) for raw in self._listed(now)])
        with self._ledger.write() as connection:
            feed = {"covers_from": OLD, "proved_at": OLD, "covered_until": at - timedelta(minutes=1)}
            known = {URL: at.isoformat()}
            touch_feed(self._ledger, connection, self._account, "deliveries", checked_at=at, known=known, **feed)

    def _listed(self, now: float) -> list[dict[str, Any]]:
        found = []
        for name, tries in self._tries.items():
            done = sorted(one for one in tries if one[0] <= now)
            running = any(now < at <= done[-1][0] + 60 for at, _ in tries) if done else False
            if not done or (running and not self._while_tried):
                continue
            attempts = [self._attempt(*one) for one in reversed(done)]
            status = attempts[0]["status"]
            found.append({"id": name, "status": status, "webhook": self._webhooks[name], "attempts": attempts})
        return found

    def _attempt(self, at: float, ok: bool) -> dict[str, Any]:
        http = {"request": {"url": URL}, "response": {"status": 200 if ok else 503}}
        started = self._at(at).isoformat()
        return {"status": "delivered" if ok else "failed", "started_at": started, "errors": [], "http": http}

    def _at(self, minutes: float) -> datetime:
        return self._start + timedelta(minutes=minutes)
