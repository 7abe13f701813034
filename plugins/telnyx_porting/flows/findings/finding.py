"""What a SELECT of a finding needs and what it gives: one look at one account, and things that are true in it."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, or_, select
from sqlalchemy.exc import OperationalError, ProgrammingError

from telnyx_porting.ledger.tables import CLOSED, MESSAGING_OPEN, findings, orders
from telnyx_porting.ledger.types import EPOCH, fixed
from telnyx_porting.settings.calendar import Calendar, calendar_of

if TYPE_CHECKING:
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
R = TypeVar("R")
Row = Mapping[Any, Any]
QUIET = frozenset({"episode", "came_from", "seen_by", "entered", "dormant", "rows"})
"""Names in `detail` whose change is no news: what a backfill or a late event teaches about the past, age, counts."""

_NAMES = ("id", "customer_reference", "customer_group_reference", "support_key")


@dataclass(frozen=True)
class Seen:
    """Something that is true now. A change of `detail`, except of :data:`QUIET`, is worth one more message."""

    kind: str
    subject: str
    order_id: str | None
    severity: str
    since: datetime  # when it began; a later one is another turn
    detail: dict[str, Any] = field(default_factory=dict)

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
        self,
        name: str,
        rows: Iterable[R],
        judge: Callable[[R], Iterable[Seen]],
        order_of: Callable[[R], str | None] = lambda row: row["id"],  # type: ignore[index]
    ) -> Iterator[Seen]:
        """Yield what is found in each row; one that cannot be judged stops no other."""
        for row in rows:
            try:
                found = list(judge(row))
            except (OperationalError, ProgrammingError):
                raise
            except Exception as error:  # whatever is odd about it
                order_id = order_of(row)
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

    @cached_property
    def acknowledged(self) -> dict[str, datetime]:
        """When people said of a finding, by key, that they know: some kinds are over then."""
        query = select(findings.c.key, findings.c.acked_at).where(
            findings.c.account == self.account,
            findings.c.kind.in_(("question", "foc")),
            findings.c.acked_at.is_not(None),
        )
        return {row.key: row.acked_at for row in self.connection.execute(query)}

    def is_dormant(self, since: datetime) -> bool:
        """Whether something has been so for so long that it is only listed."""
        return self.now - since >= timedelta(days=self.settings.dormant_after_days)

    def ignores(self, order: Row) -> bool:
        """Whether people said that they do not want to hear of this order."""
        return any(
            fnmatch.fnmatchcase(str(order[name]), pattern)
            for pattern in self.settings.ignore_orders
            for name in _NAMES
            if order[name] is not None
        )


def order_is_open() -> ColumnElement[bool]:
    """Return the condition of the index on open orders."""
    is_open = or_(
        orders.c.status.is_(None),
        orders.c.status.not_in(fixed(*CLOSED)),
        orders.c.messaging_status.in_(fixed(*MESSAGING_OPEN)),
    )
    # always true, and what lets SQLite prefer the index on what is open to one on everything
    return and_(is_open, orders.c.updated_at > EPOCH)
