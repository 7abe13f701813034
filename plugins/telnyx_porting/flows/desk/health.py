"""How far the watch can be believed: what is complete, what is covered, what is open and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from telnyx_porting.flows.clock import last_beat, read_clocks
from telnyx_porting.flows.desk.board import Headline, write_headline
from telnyx_porting.flows.desk.lines import Line, read_open, write_lines
from telnyx_porting.flows.desk.preflight import kept_lines
from telnyx_porting.flows.events.odd import odd_of
from telnyx_porting.flows.feeds import read_outages
from telnyx_porting.flows.findings.kind import HEALTH
from telnyx_porting.ledger.states import AUDITS, Feed, Method
from telnyx_porting.ledger.tables import channels, feeds, findings, windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.desk.preflight import Line as Check

SHOWN = 20  # open windows


@dataclass(frozen=True)
class FeedLine:
    """
    One feed: something that is read, and known to be complete between two times.

    :param source: a word of `states.Feed`, or ``table:<connection>``
    :param decides: whether it is the consumer of record
    :param until: complete, or evidence, up to then; None: never
    :param proved_at: when it first showed a port-in notification of this account
    :param checked_at: when it was last asked
    :param error: its last problem, None: none. Foreign text
    :param notes: more in sentences: what is odd, how late rows come
    """

    source: str
    decides: bool
    since: datetime | None
    until: datetime | None
    proved_at: datetime | None
    checked_at: datetime | None
    error: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class WindowLine:
    """A stretch of time that is not proved complete, and why. `made_by`: what read it."""

    since: datetime
    until: datetime
    made_by: str
    reason: str | None


@dataclass(frozen=True)
class Certificate:
    """What was last proved complete, and how: `count` (as long as Telnyx removes nothing) or `ids`."""

    method: str
    since: datetime
    until: datetime
    held: int | None
    as_of: datetime | None


@dataclass(frozen=True)
class HealthView:
    """
    The page on the watch itself.

    :param windows: the newest open ones; `windows_open` counts all
    :param channels: alert channels that did not take their last message, and why
    :param checks: preflight's lines as it last ran; empty: it has not run, then `checked_at` is None
    """

    headline: Headline
    feeds: tuple[FeedLine, ...]
    windows: tuple[WindowLine, ...]
    windows_open: int
    certificates: tuple[Certificate, ...]
    findings: tuple[Line, ...]
    channels: tuple[tuple[str, str], ...]
    checks: tuple[Check, ...] = ()
    checked_at: datetime | None = None


def read_health(account: Account) -> HealthView:
    """Return what can be believed of an account."""
    now = account.clock()
    with account.ledger.read() as connection:
        headline = write_headline(connection, account, now)
        found = read_open(connection, account, now, findings.c.kind == HEALTH)
        unproved, count = open_windows(connection, account.id, SHOWN)
        checks, checked_at = kept_lines(connection, account.id)
        return HealthView(
            headline=headline,
            feeds=feed_lines(connection, account.id, now, record=headline.evidence_by.partition(":")[0]),
            windows=unproved,
            windows_open=count,
            certificates=certificates_of(connection, account.id),
            findings=write_lines(connection, account, found, now),
            channels=failing_channels(connection, account.id),
            checks=checks,
            checked_at=checked_at,
        )


def feed_lines(connection: Connection, account: str, now: datetime, *, record: str = "") -> tuple[FeedLine, ...]:
    """Return what is read, the events first; `record` is the source that decides."""
    query = select(feeds).where(feeds.c.account == account).order_by(feeds.c.source != Feed.EVENTS, feeds.c.source)
    clocks = read_clocks(connection, account)
    found = []
    for row in connection.execute(query).mappings():
        until = last_beat(row, clocks, now) if row["source"] == Feed.RECEIVER else row["covered_until"]
        decides = row["source"] == record
        times = (row["covers_from"], until, row["proved_at"], row["checked_at"])
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


def open_windows(connection: Connection, account: str, shown: int) -> tuple[tuple[WindowLine, ...], int]:
    """Return the newest stretches that are not proved, so many at most, and how many there are."""
    mine = (windows.c.account == account, windows.c.sealed_at.is_(None))
    total = connection.execute(select(func.count()).select_from(windows).where(*mine)).scalar_one()
    columns = (windows.c.since, windows.c.until, windows.c.made_by, windows.c.open_reason)
    rows = connection.execute(select(*columns).where(*mine).order_by(windows.c.until.desc()).limit(shown))
    return tuple(WindowLine(*row) for row in rows), total


def certificates_of(connection: Connection, account: str) -> tuple[Certificate, ...]:
    """Return the last proof of each method."""
    found = []
    for method in Method:
        mine = (windows.c.account == account, windows.c.made_by.in_(AUDITS), windows.c.method == method)
        query = select(windows).where(*mine, windows.c.sealed_at.is_not(None)).order_by(windows.c.sealed_at.desc())
        row = connection.execute(query.limit(1)).one_or_none()
        if row is not None:
            found.append(Certificate(method, row.since, row.until, row.held, row.as_of))
    return tuple(found)


def failing_channels(connection: Connection, account: str) -> tuple[tuple[str, str], ...]:
    """Return alert channels that did not take their last message, and why."""
    failing = select(channels.c.name, channels.c.error).where(
        channels.c.account == account, channels.c.error.is_not(None)
    )
    return tuple((name, error) for name, error in connection.execute(failing.order_by(channels.c.name)))
