"""Audit: prove with few requests that the ledger holds what the provider has, and find what is missing.

While the provider has dropped nothing that is held here, the ids held are a subset of its ids, and equal counts prove
equality: one count and one GET of the oldest held event prove all of history. A shortfall is found by bisection. Cuts
lie where no held event is within 2 s, and neighbours overlap by 2 s: whether bounds are inclusive, exclusive or cut to
the second is undocumented. A total that is a round number may be a cap, and is believed only when its halves agree.

Retention is undocumented too: where the oldest event is gone, or the provider counts less than is held, nothing is
deleted here. The horizon moves to the oldest event still there. From then on equal counts prove nothing, for a removal
may hide a shortfall: all that is left is compared id by id.

Counts hide errors that cancel out: every night a part of history is compared id by id, whatever its counts say. A part
that cannot be compared is gone round, and tried again on later nights.
"""

from __future__ import annotations

import logging
import uuid
from bisect import bisect_left
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, delete, select, update

from telnyx_porting.errors import ContractError, EnvelopeError, FormError, IncompleteListing, NotFoundError, TelnyxError
from telnyx_porting.flows.events.coverage import QUIET, check_stretch, gone_any, held, middle, nth, quiet, scanned
from telnyx_porting.flows.events.store import CHUNK, Stored, store
from telnyx_porting.flows.events.unread import why_open
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.flows.identity import accept
from telnyx_porting.ledger.bulk import chunks
from telnyx_porting.ledger.states import AUDITS, Feed, MadeBy, Method
from telnyx_porting.ledger.tables import events, windows
from telnyx_porting.models.oddities import is_uuid

if TYPE_CHECKING:
    from datetime import datetime

    from telnyx_porting.client import ProvedWindow, TelnyxClient
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient

log = logging.getLogger(__name__)
OVERLAP = timedelta(seconds=1)  # of each of two neighbours
PAGE = 250  # events up to which a stretch is read rather than bisected
ROUND = 1_000


@dataclass(frozen=True)
class AuditResult:
    """What an audit proved. Counts only."""

    account: str
    method: Method
    since: datetime
    until: datetime
    held: int
    found: int  # events the provider had and the ledger lacked
    gone: int  # events held that the provider no longer has, found by this audit
    horizon: datetime | None  # set when the provider no longer has what is older
    requests: int
    as_of: datetime
    open_reason: str | None  # None: proved

    @property
    def certificate(self) -> str:
        """The proof in one sentence."""
        if self.open_reason:
            return f"not proved: {self.open_reason}"
        assumed = ", as long as Telnyx removes nothing" if self.method == Method.COUNT else ""
        return (
            f"{self.held} events from {self.since:%Y-%m-%d %H:%M:%S} to {self.until:%Y-%m-%d %H:%M:%S} UTC are"
            f" complete as of {self.as_of:%Y-%m-%d %H:%M:%S} UTC, by {self.method}{assumed}"
        )


def audit(
    account: Account,
    client: TelnyxClient,
    since: datetime | None = None,
    until: datetime | None = None,
    by_ids: bool = False,
) -> AuditResult:
    """Prove a stretch of what the scan covers (default: all of it) and store what turns out to be missing.

    :param by_ids: compare every id, whatever the counts say.
    :raises FormError: an impossible stretch, or one of which the scan covers nothing.
    :raises LedgerError: the account was never scanned.
    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user.
    :raises TelnyxError: the provider could not be read.
    """
    now = account.clock()
    check_stretch(since, until, now)
    client = accept(account, client)
    with account.ledger.read() as connection:
        feed = scanned(connection, account.id)
        first = max(t for t in (feed["covers_from"], feed["horizon"]) if t)
        begin = max(since or first, first)
        end = min(until or feed["covered_until"], feed["covered_until"])
    if (asked := since or until) is not None and begin >= end:
        covered = f"{first.isoformat()} to {feed['covered_until'].isoformat()}"
        raise FormError("from" if since else "to", asked.isoformat(), f"the ledger covers {covered} only")
    return Audit(account, client, now, Method.IDS if by_ids else Method.COUNT).run(begin, max(begin, end))


def unproved(account: Account) -> tuple[ColumnElement[bool], ...]:
    """Return SQL: windows that audits had to leave open."""
    mine = (windows.c.account == account.id, windows.c.made_by.in_(AUDITS))
    return (*mine, windows.c.sealed_at.is_(None))


class Audit:
    """One audit of one stretch."""

    def __init__(
        self, account: Account, client: AccountClient, now: datetime, method: Method, made_by: MadeBy = MadeBy.AUDIT
    ) -> None:
        self.account, self.client, self.now, self.method, self.made_by = account, client, now, method, made_by
        self.stored = Stored()
        self.gone = 0
        self.horizon: datetime | None = None
        self.reasons: list[str] = []
        self.before = client.requests_made

    def run(self, since: datetime, until: datetime) -> AuditResult:
        try:
            if self.method == Method.IDS:
                self.compare(since, until)
            else:
                since, until = self.prove_all(since, until)
        except EnvelopeError as error:
            self.reasons.append(str(error))
        except TelnyxError as error:
            if not isinstance(error, ContractError):
                self.reasons = [str(error)]
                self.certify(since, until, 0, self.now)
            raise
        with self.account.ledger.read() as connection:
            total = held(connection, self.account.id, since, until)
        return self.certify(since, until, total, self.now + (self.client.clock_offset or timedelta(0)))

    def prove_all(self, since: datetime, until: datetime) -> tuple[datetime, datetime]:
        """Prove from the oldest event the provider still has; return the stretch that was looked at."""
        with self.account.ledger.read() as connection:
            since = quiet(connection, self.account.id, since, until) or since
            until = quiet(connection, self.account.id, until, since) or until
            oldest = nth(connection, self.account.id, since, until, 0)
            removed = gone_any(connection, self.account.id)
        if oldest is not None and not self.is_there(oldest.id):
            since = self.move_horizon(since, until)
        if since < until and not self.reasons and not (removed or self.gone):
            self.prove(since, until)
        if since < until and not self.reasons and (removed or self.gone):
            self.method = Method.IDS
            self.compare(since, until)
        return since, until

    def prove(self, since: datetime, until: datetime, counted: int | None = None) -> None:
        """Prove a stretch by its count, or find out what is different."""
        if counted is None:
            counted = self.client.count_porting_events(since, until)
        with self.account.ledger.read() as connection:
            here = held(connection, self.account.id, since, until)
            may_be_a_cap = counted >= ROUND and counted % ROUND == 0
            if counted == here and not may_be_a_cap:
                return
            cut = middle(connection, self.account.id, since, until, here)
        if cut is None or (counted <= PAGE and here <= 4 * PAGE):
            self.compare(since, until)
            return
        left = self.client.count_porting_events(since, cut + OVERLAP)
        right = self.client.count_porting_events(cut - OVERLAP, until)
        if left + right < counted:
            log.warning("counts of two halves do not add up (%d + %d < %d): read by pages", left, right, counted)
            self.compare(since, until)
            return
        self.prove(since, cut + OVERLAP, left)
        self.prove(cut - OVERLAP, until, right)

    def move_horizon(self, since: datetime, until: datetime) -> datetime:
        """Find the oldest event the provider still has, by bisection; nothing here is deleted."""
        with self.account.ledger.read() as connection:
            alive = held(connection, self.account.id, since, until) - 1
            newest = nth(connection, self.account.id, since, until, alive)
        if newest is None or not self.is_there(newest.id):
            self.reasons.append("Telnyx has neither the oldest nor the newest event held: this is no retention")
            return since

        def is_alive(n: int) -> bool:
            with self.account.ledger.read() as connection:
                row = nth(connection, self.account.id, since, until, n)
            return row is None or self.is_there(row.id)

        alive = bisect_left(range(alive), True, lo=1, key=is_alive)  # the oldest is gone, the newest is there
        with self.account.ledger.read() as connection:
            first = nth(connection, self.account.id, since, until, alive)
            oldest = first.created_at if first is not None else until
            begin = quiet(connection, self.account.id, oldest - QUIET, until) or oldest
        self.gone += alive
        self.horizon = oldest
        with self.account.ledger.write() as connection:
            touch_feed(self.account.ledger, connection, self.account.id, Feed.EVENTS, horizon=oldest)
        log.warning("Telnyx no longer has events before %s; they are kept here", oldest.isoformat())
        return begin

    def is_there(self, event_id: str) -> bool:
        """Ask for one event; of one whose id is none of Telnyx's nothing can be asked, nor concluded."""
        if not is_uuid(event_id):
            return True
        try:
            self.client.get_porting_event(event_id)
        except NotFoundError:
            return False
        return True

    def compare(self, since: datetime, until: datetime) -> None:
        """Read a stretch, store what is missing, and see what the provider no longer has."""
        try:
            for part in self.client.iter_proved_windows(since, until):
                self.stored += store(self.account, part.rows, self.now, behind=part.until)
                self._look_for_gone(part, part.until >= until)
                if part.unread:
                    self.reasons.append(why_open(part.unread))
        except ContractError as error:
            self.reasons.append(str(error))
            behind = error.until if isinstance(error, IncompleteListing) else None
            if behind is not None and since < behind < until:  # what lies behind it can be compared all the same
                self.compare(behind, until)

    def _look_for_gone(self, part: ProvedWindow, last: bool) -> None:
        there = {event.id for event in part.rows}
        query = select(events.c.id, events.c.gone_at).where(
            events.c.account == self.account.id,
            events.c.created_at >= (part.since or part.until),
            events.c.created_at <= part.until if last else events.c.created_at < part.until,
            events.c.first_seen_at <= self.now,
        )
        with self.account.ledger.read() as connection:
            rows = connection.execute(query).all()
        back = [row.id for row in rows if row.gone_at is not None and row.id in there]
        away = [row.id for row in rows if row.gone_at is None and row.id not in there]
        can_be_asked = [event_id for event_id in away if is_uuid(event_id)]
        sample = can_be_asked[:3] + can_be_asked[-3:]
        if away and any(self.is_there(event_id) for event_id in dict.fromkeys(sample)):
            self.reasons.append(f"Telnyx has {len(away)} events that its list leaves out")
            away = []
        self.gone += len(away)
        self._mark(away, self.now)
        self._mark(back, None)

    def _mark(self, ids: list[str], gone_at: datetime | None) -> None:
        for some in chunks(ids, CHUNK):
            with self.account.ledger.write() as connection:
                these = (events.c.account == self.account.id, events.c.id.in_(some))
                connection.execute(update(events).where(*these).values(gone_at=gone_at))
            self.account.ledger.breathe()

    def certify(self, since: datetime, until: datetime, total: int, as_of: datetime) -> AuditResult:
        """Write the certificate, or the open stretch and why; it replaces what earlier audits left open there."""
        result = AuditResult(
            account=self.account.id,
            method=self.method,
            since=since,
            until=until,
            held=total,
            found=self.stored.new,
            gone=self.gone,
            horizon=self.horizon,
            requests=self.client.requests_made - self.before,
            as_of=as_of,
            open_reason="; ".join(dict.fromkeys(self.reasons)) or None,
        )
        row: dict[str, Any] = {"id": uuid.uuid4().hex, "made_by": self.made_by, "started_at": self.now}
        alike = ("account", "since", "until", "method", "held", "gone", "requests", "as_of", "open_reason")
        row |= {"late": result.found, **{name: getattr(result, name) for name in alike}}
        if not result.open_reason:
            row |= {"counted": result.held, "sealed_at": self.now}
        with self.account.ledger.write() as connection:
            inside = (windows.c.since >= result.since - QUIET, windows.c.until <= result.until + QUIET)
            methods = tuple(Method) if self.method == Method.IDS and not result.open_reason else (self.method,)
            open_ones = (*unproved(self.account), windows.c.method.in_(methods))
            connection.execute(delete(windows).where(*open_ones, *inside))
            self.account.ledger.upsert(connection, windows, [row])
        return result
