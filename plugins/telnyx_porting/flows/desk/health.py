"""How far the watch can be believed: what is complete, what is covered, what is open and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, func, select

from telnyx_porting.flows.clock import last_beat, read_clocks
from telnyx_porting.flows.desk.board import Headline, write_headline
from telnyx_porting.flows.desk.lines import Line, read_open, write_lines
from telnyx_porting.flows.desk.preflight import Line as Check
from telnyx_porting.flows.desk.preflight import kept_lines
from telnyx_porting.flows.events.odd import odd_of
from telnyx_porting.flows.feeds import read_outages
from telnyx_porting.flows.findings.kind import HEALTH
from telnyx_porting.ledger.states import AUDITS, Feed, Method
from telnyx_porting.ledger.tables import channels, feeds, findings, windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from telnyx_porting.flows.account import Account

SHOWN = 20  # open windows


@dataclass(frozen=True)
class FeedLine:
    """One feed: something that is read, and known to be complete between two times.

    :param source: a word of `states.Feed`, or ``table:<connection>``
    :param decides: whether it is the consumer of record
    :param until: complete, or evidence, up to then; None: never
    :param error: its last problem, None: none. Foreign text
    :param notes: more in sentences: what is odd, how late rows come
    """

    source: str
    decides: bool
    since: datetime | None
    until: datetime | None
    checked_at: datetime | None
    error: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class HealthView:
    """The page on the watch itself.

    :param windows: the newest open ones: since, until, made_by, reason; `windows_open` counts all
    :param certificates: what was last proved complete by each `states.Method`: method, since, until, held, as_of
    :param channels: alert channels that did not take their last message, and why
    :param checks: preflight's lines as it last ran; empty: it has not run, then `checked_at` is None
    """

    headline: Headline
    feeds: tuple[FeedLine, ...]
    windows: Sequence[RowMapping]
    windows_open: int
    certificates: Sequence[RowMapping]
    findings: tuple[Line, ...]
    channels: Sequence[RowMapping]
    checks: tuple[Check, ...] = ()
    checked_at: datetime | None = None


def read_health(account: Account) -> HealthView:
    """Return what can be believed of an account."""
    now = account.clock()
    with account.ledger.read() as connection:
        headline = write_headline(connection, account, now)
        found = read_open(connection, account, now, findings.c.kind == HEALTH)
        return HealthView(
            headline,
            feed_lines(connection, account.id, now, record=headline.evidence_by.partition(":")[0]),
            *open_windows(connection, account.id, SHOWN),
            certificates_of(connection, account.id),
            write_lines(connection, account, found, now),
            failing_channels(connection, account.id),
            *kept_lines(connection, account.id),
        )


def feed_lines(connection: Connection, account: str, now: datetime, *, record: str = "") -> tuple[FeedLine, ...]:
    """Return what is read, the events first; `record` is the source that decides."""
    query = select(feeds).where(feeds.c.account == account).order_by(feeds.c.source != Feed.EVENTS, feeds.c.source)
    clocks = read_clocks(connection, account)
    found = []
    for row in connection.execute(query).mappings():
        until = last_beat(row, clocks, now) if row["source"] == Feed.RECEIVER else row["covered_until"]
        decides = row["source"] == record
        times = (row["covers_from"], until, row["checked_at"])
        found.append(FeedLine(row["source"], decides, *times, row["error"], tuple(_notes(row, now))))
    return tuple(found)


def _notes(row: Mapping[Any, Any], now: datetime) -> Iterator[str]:
    if row["horizon"] is not None:
        yield f"Telnyx no longer has what is older than {row['horizon']:%Y-%m-%d %H:%M} UTC; it is kept here"
    if row["lateness"]:
        yield f"rows turned up {row['lateness']} s late; each scan reads twice as far back"
    if row["refused"]:
        yield f"{row['refused']} signatures were refused since the last good one"
    if row["source"] == Feed.RECEIVER and (outages := read_outages(row["outages"])):
        since, until = outages[-1]
        yield f"it was down from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
    for what in odd_of(row, now):
        yield f"it holds what cannot be read as it is meant: {what}"


def open_windows(connection: Connection, account: str, shown: int) -> tuple[Sequence[RowMapping], int]:
    """Return the newest stretches that are not proved, so many at most, and how many there are."""
    mine = (windows.c.account == account, windows.c.sealed_at.is_(None))
    total = connection.execute(select(func.count()).where(*mine)).scalar_one()
    query = select(windows.c.since, windows.c.until, windows.c.made_by, windows.c.open_reason.label("reason"))
    return connection.execute(query.where(*mine).order_by(windows.c.until.desc()).limit(shown)).mappings().all(), total


def certificates_of(connection: Connection, account: str) -> list[RowMapping]:
    """Return the last proof of each method."""
    query = select(windows).where(
        windows.c.account == account, windows.c.made_by.in_(AUDITS), windows.c.sealed_at.is_not(None)
    )
    query = query.order_by(windows.c.sealed_at.desc()).limit(1)
    found = (connection.execute(query.where(windows.c.method == method)).mappings().one_or_none() for method in Method)
    return [row for row in found if row is not None]


def failing_channels(connection: Connection, account: str) -> Sequence[RowMapping]:
    """Return alert channels that did not take their last message: name, and error."""
    query = select(channels).where(channels.c.account == account, channels.c.error.is_not(None))
    return connection.execute(query.order_by(channels.c.name)).mappings().all()
