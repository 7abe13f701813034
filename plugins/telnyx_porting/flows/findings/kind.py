"""What a kind of finding is, the look in which it finds something true, and what it gives the rest of the watch."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, select
from sqlalchemy.exc import OperationalError, ProgrammingError

from telnyx_porting.ledger import predicates
from telnyx_porting.ledger.bulk import rows_by
from telnyx_porting.ledger.tables import events, findings, orders
from telnyx_porting.ledger.types import EPOCH
from telnyx_porting.settings.calendar import Calendar, calendar_of

if TYPE_CHECKING:
    from datetime import datetime

    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
R = TypeVar("R")
Row = Mapping[Any, Any]
HEALTH = "health"  # the watch itself: some of it the ledger shows, the rest is opened and cleared by who notices
US, TELNYX, CARRIER = "us/customer", "Telnyx", "losing carrier"
PLATFORM, RECEIVERS = "whoever runs the watch", "whoever runs the receiving system"
COMMENT = "write a comment on the order, it reaches Telnyx's porting team"

Step = tuple[str, str]  # whose step is next, and which
_NAMES = ("id", "customer_reference", "customer_group_reference", "support_key")


@dataclass(frozen=True)
class Seen:
    """Something that is true now. A change of `detail`, except of what its kind calls quiet, is one more message."""

    kind: str
    subject: str
    order_id: str | None
    severity: str
    since: datetime  # when it began; a later one is another occurrence
    detail: Mapping[str, Any] = field(default_factory=dict)  # plain JSON, as its kind types it
    touched: datetime | None = None  # when somebody last did something about it; None: when it began
    is_history: bool = False  # how severe it is hangs on what was long before the watch began

    @property
    def key(self) -> str:
        """The finding's stable key."""
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True)
class Look:
    """One look at one account, at one moment."""

    connection: Connection
    account: str
    settings: Settings
    now: datetime
    failed: dict[tuple[str, str | None], str] = field(default_factory=dict)
    """What could not be judged, and why: a kind at one order, or (None) a kind as a whole."""
    found: list[Seen] = field(default_factory=list)  # by the kinds that looked before

    def kind(self, name: str, read: Callable[[Look], Iterable[Seen]]) -> list[Seen]:
        """Return what one kind finds; where it fails, nothing, and it stops no other."""
        try:
            with self.connection.begin_nested():
                return list(read(self))
        except OperationalError:
            raise  # the database is gone, so nothing can be said of any kind
        except Exception as error:
            log.exception("findings of the kind %s of %s", name, self.account)
            self.failed[name, None] = type(error).__name__
            return []

    def each(
        self, name: str, rows: Iterable[tuple[str, R]], judge: Callable[[str, R], Iterable[Seen]]
    ) -> Iterator[Seen]:
        """Yield what is found at each order, or at an event without one; one that cannot be judged stops no other."""
        for order_id, row in rows:
            try:
                found = list(judge(order_id, row))
            except (OperationalError, ProgrammingError):
                raise
            except Exception as error:  # whatever is odd about it
                log.exception("findings of the kind %s of %s at %r", name, self.account, order_id)
                self.failed[name, order_id] = type(error).__name__
                continue
            yield from found

    @cached_property
    def calendar(self) -> Calendar:
        """The account's working hours."""
        return calendar_of(self.settings)

    @cached_property
    def open_orders(self) -> dict[str, dict[str, Any]]:
        """Orders that can still need somebody: not drafts, not ignored, not finished (messaging included)."""
        query = select(orders).where(orders.c.account == self.account, order_is_open())
        rows = (dict(row) for row in self.connection.execute(query).mappings())
        return {row["id"]: row for row in rows if row["status"] != "draft" and not self.ignores(row)}

    def events_where(self, *conditions: ColumnElement[bool]) -> list[tuple[str, Row]]:
        """Return events, by order or else by event, each with what its order is called, as far as that is known."""
        about = and_(orders.c.account == events.c.account, orders.c.id == events.c.order_id)
        query = (
            select(
                events.c.id.label("event_id"),
                events.c.order_id,
                events.c.type,
                events.c.created_at,
                events.c.sends,
                events.c.last_sent_at,
                orders.c.status,
                *(orders.c[name] for name in _NAMES),
            )
            .outerjoin(orders, about)
            .where(events.c.account == self.account, *conditions)
        )
        rows = self.connection.execute(query).mappings()
        return [(row["order_id"] or row["event_id"], row) for row in rows]

    def acknowledged(self, keys: Iterable[str]) -> dict[str, datetime]:
        """Return when people said of these findings, by key, that they know."""
        query = select(findings.c.key, findings.c.acked_at)
        query = query.where(findings.c.account == self.account, findings.c.acked_at.is_not(None))
        rows = rows_by(self.connection, query, findings.c.key, keys)
        return {key: row["acked_at"] for key, row in rows.items()}

    def ignores(self, order: Row) -> bool:
        """Whether people said that they do not want to hear of this order."""
        return any(
            fnmatch.fnmatchcase(str(order[name]), pattern)
            for pattern in self.settings.ignore_orders
            for name in _NAMES
            if order[name] is not None
        )


@dataclass(frozen=True)
class Told:
    """One finding about which something is said, and what is known around it."""

    finding: Row
    detail: Any  # of the finding, as its kind types it; empty where an earlier occurrence is over
    order: Row | None
    is_over: bool
    settings: Settings
    now: datetime
    calendar: Calendar
    exception_types: Mapping[str, str]  # Telnyx's own descriptions of exception codes


@dataclass(frozen=True)
class Kind:
    """One kind of finding, or of the health findings those about some subjects.

    :param template: Jinja; owner, note and next step follow it. It may say lead, title, account, subject, label,
        numbers, status, severity, age, foc, comments and siblings, and what `words` gives.
    :param look: what is true now; None: whoever notices opens and clears it.
    :param title: what is over when it is; default the name.
    :param words: more for the template, as cleaned text; the detail may lack anything.
    :param inhibited: whether an open finding of the account (key -> severity) says it all already.
    :param subjects: of health findings the first words of the subject; empty: all that no other kind is about.
    :param quiet: names in the detail whose change is no news: age, counts, what a backfill teaches; with `severity`
        only a rise of it is.
    :param hangs_on: kinds whose findings it looks at; they stand before it.
    :param order_decides: whether the order, read again, may show that it is over.
    """

    name: str
    template: str
    next_step: Callable[[Told], Step]
    look: Callable[[Look], Iterable[Seen]] | None = None
    title: str = ""
    words: Callable[[Told], dict[str, Any]] = lambda told: {}
    inhibited: Callable[[Row, Mapping[str, str]], bool] = lambda finding, severities: False
    subjects: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()
    hangs_on: tuple[str, ...] = ()
    order_decides: bool = True


def order_is_open() -> ColumnElement[bool]:
    """Return SQL: an order, or its messaging part, is not finished."""
    # always true, and what lets SQLite prefer the index on what is open to one on everything
    return and_(predicates.order_is_open(orders), orders.c.updated_at > EPOCH)
