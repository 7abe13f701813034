"""A first answer about an account that nobody watches yet: it reads for about a minute and sends nothing.

The account is read into a ledger of its own, which the caller throws away; findings are those of the watch itself.
What would take too many requests is read in part, or left out, and said.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import func, select

from telnyx_porting.client.probe import Habits, Listed
from telnyx_porting.errors import AuthenticationError, PermissionDeniedError, TelnyxError, TransportError
from telnyx_porting.flows.alerts.facts import gather, keep_exception_types
from telnyx_porting.flows.alerts.text import line
from telnyx_porting.flows.deliveries.matching import match
from telnyx_porting.flows.deliveries.pull import reach_back, read_deliveries
from telnyx_porting.flows.desk.traces import Traces, find_traces
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.flows.findings.kind import HEALTH
from telnyx_porting.flows.findings.kinds import kind_of
from telnyx_porting.flows.findings.reconcile import open_findings, reconcile
from telnyx_porting.flows.orders.sync import project_events, sync_orders
from telnyx_porting.flows.subscriptions import Destinations, read_destinations
from telnyx_porting.ledger.tables import events, orders, windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.account import Account

T = TypeVar("T")
RECORDS = "delivery records"
MOST = {Listed.EVENTS: 4_000, Listed.ORDERS: 7_500, Listed.DELIVERIES: 7_500}
"""Rows read at most: about 16, 30 and 30 pages, and some more requests to prove them complete."""


@dataclass
class Checked:
    """What was seen. Whatever is None or empty was not there, or is named in `troubles`.

    :param days: that were read; fewer than asked for where there are very many events
    :param incomplete: why it is not proved that these are all
    :param orders: how many are known, from the list or from events
    :param found: by kind what needs somebody: how severe it is, and a sentence
    :param troubles: what could not be read -> why
    """

    base_url: str
    asked_days: int
    days: int
    now: datetime
    events: int = 0
    incomplete: str | None = None
    orders: int = 0
    own_urls: int = 0
    oldest_order: datetime | None = None
    found: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    traces: Traces = field(default_factory=Traces)
    subscribed: Destinations = field(default_factory=Destinations)
    event_list: Habits | None = None
    delivery_list: Habits | None = None
    troubles: dict[str, str] = field(default_factory=dict)
    requests: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all that was to be read was read, and proved where it can be."""
        return not self.troubles and self.incomplete is None


def check(account: Account, client: TelnyxClient, say: Callable[[str], None]) -> Checked:
    """Read an account, `first_look_days` back, into an empty ledger; return what was seen.

    :param say: is told what is read next.
    :raises TelnyxError: there is no way to Telnyx, or events may not be read.
    """
    now, days = account.clock(), account.settings.first_look_days
    look = _Look(account, client, Checked(client.base_url, days, days, now), say)
    look.choose_days()
    look.read_lists()
    look.ask_about_lists()
    seen = look.seen
    say("comparing what was read")
    match(account)
    seen.traces = find_traces(account)
    seen.found = _findings(account)
    with account.ledger.read() as connection:
        counts = select(func.count(), func.count(orders.c.webhook_url)).where(orders.c.account == account.id)
        seen.orders, seen.own_urls = connection.execute(counts).one()
        seen.events = connection.execute(select(func.count()).where(events.c.account == account.id)).scalar_one()
        reason = select(windows.c.open_reason).where(windows.c.account == account.id, windows.c.sealed_at.is_(None))
        seen.incomplete = connection.scalar(reason.limit(1))
    seen.requests = client.requests_made
    return seen


class _Look:
    """One check under way."""

    def __init__(self, account: Account, client: TelnyxClient, seen: Checked, say: Callable[[str], None]) -> None:
        self.account, self.client, self.seen, self._say = account, client, seen, say

    def choose_days(self) -> None:
        """Go as far back as it takes few enough requests. The first contact: a wrong key or host shows here."""
        self._say(f"asking {self.client.base_url} how many events there are")
        while self._too_many(Listed.EVENTS, timedelta(days=self.seen.days)) and self.seen.days > 1:
            self.seen.days //= 2
        fewer = self.account.settings.model_copy(update={"first_look_days": self.seen.days})
        self.account = replace(self.account, settings=fewer)

    def read_lists(self) -> None:
        """Read the days' events, as the watch does; all orders, or those that the events told of; and deliveries."""
        account, days = self.account, timedelta(days=self.seen.days)
        self._say(f"reading the events of {self.seen.days} days")
        self._part("events", lambda: scan(account, self.client))
        too_many = f"more than {MOST[Listed.ORDERS]}: only those are known of which an event of these days tells"
        self._read("orders", Listed.ORDERS, None, too_many, lambda: sync_orders(account, self.client, full=True))
        project_events(account)
        oldest = self._part("orders", lambda: list(self.client.iter_porting_orders(page_size=1, limit=1)))
        self.seen.oldest_order = oldest[0].created_at if oldest else None
        keep_exception_types(account, self.client)
        back = days + reach_back(account.settings)
        too_many = f"more than {MOST[Listed.DELIVERIES]} in {self.seen.days} days: ask for fewer days"
        self._read(RECORDS, Listed.DELIVERIES, back, too_many, lambda: read_deliveries(account, self.client))

    def ask_about_lists(self) -> None:
        """Ask what the documentation leaves open, and who is subscribed."""
        self._say("asking how its lists behave")
        self.seen.event_list = self._part("events", lambda: self.client.probe(Listed.EVENTS))
        if RECORDS not in self.seen.troubles:
            self.seen.delivery_list = self._part(RECORDS, lambda: self.client.probe(Listed.DELIVERIES))
        self.seen.subscribed = read_destinations(self.account, self.client)

    def _read(
        self, name: str, listed: Listed, back: timedelta | None, too_many: str, read: Callable[[], object]
    ) -> None:
        if self._part(name, lambda: self._too_many(listed, back)):
            self.seen.troubles[name] = too_many
        if name not in self.seen.troubles:
            self._say(f"reading the {name}")
            self._part(name, read)

    def _too_many(self, listed: Listed, back: timedelta | None = None) -> bool:
        """Whether a list is too long for a first look, or does not say how long it is."""
        count = self.client.count_rows(listed, self.seen.now - back if back else None)
        return count is None or count > MOST[listed]

    def _part(self, what: str, read: Callable[[], T]) -> T | None:
        """Read one part; where that fails, the others are read all the same, as long as Telnyx answers."""
        try:
            return read()
        except (AuthenticationError, TransportError):
            raise
        except PermissionDeniedError:
            self.seen.troubles.setdefault(what, "403: the API key may not read them")
        except TelnyxError as error:
            self.seen.troubles.setdefault(what, str(error))
        return None


def _findings(account: Account) -> dict[str, list[tuple[str, str]]]:
    """Return what needs somebody, the most severe and oldest first; of what says the same only the strongest word."""
    reconcile(account, lambda *_: 0)
    now = account.clock()
    with account.ledger.read() as connection:
        rows = [row for row in open_findings(connection, account.id) if row["kind"] != HEALTH]
        severities = {row["key"]: row["severity"] for row in rows}
        rows = [row for row in rows if not kind_of(row["kind"], row["subject"]).inhibited(row, severities)]
        facts = gather(connection, account.id, account.settings, now, [row["key"] for row in rows])
    found: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        found.setdefault(row["kind"], []).append((row["severity"], line(row, facts)))
    return found
