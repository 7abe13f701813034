"""Which events a plan may hold: what the watch selects by itself, and what a person names with consents."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, case, exists, func, or_, select

from telnyx_porting.errors import FormError, NotFoundError, PlanError
from telnyx_porting.flows.deliveries.arrival import decide
from telnyx_porting.flows.deliveries.proofs import same_event
from telnyx_porting.flows.events.coverage import gaps, scanned
from telnyx_porting.flows.events.store import store
from telnyx_porting.flows.identity import accept
from telnyx_porting.flows.subscriptions import budget
from telnyx_porting.ledger.predicates import is_open, is_unresolved
from telnyx_porting.ledger.states import CloseReason, Consent, Delivery, PayloadStatus, Republish
from telnyx_porting.ledger.tables import events, plans, republishes
from telnyx_porting.ledger.types import instant
from telnyx_porting.models.oddities import is_uuid

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.account import Account
    from telnyx_porting.settings import Settings

LARGEST = 5_000  # ids in one plan; what is left comes with the next one
REPEATABLE = ("porting_order.status_changed", "porting_order.messaging_changed")  # a newer one supersedes them
NO_PAYLOAD = "no_payload"
NO_UUID = "no_uuid"  # Telnyx lists it with an id that no request can name


@dataclass(frozen=True)
class Asked:
    """What a person asks for: these events, each kind that the watch would not send by itself with its consent.

    :param leave_out: leave out, and count by reason, what cannot go; else it is refused.
    """

    ids: Sequence[str]
    consents: Collection[str] = ()
    leave_out: bool = False
    by: str = "a person"
    reason: str = "asked for by a person"


def superseded() -> ColumnElement[bool]:
    """Return SQL: a status or messaging event whose order has had a newer one of its type."""
    newer = events.alias("newer")
    has_newer = exists().where(
        *(newer.c[name] == events.c[name] for name in ("account", "order_id", "type")),
        newer.c.created_at > events.c.created_at,
    )
    return and_(events.c.type.in_(REPEATABLE), has_newer.correlate(events))


def missed(connection: Connection, account: str, settings: Settings, now: datetime) -> list[RowMapping]:
    """Return what the watch sends by itself: missed, within budget and rested, not superseded, not a deletion."""
    most = budget(connection, account, settings)
    tried = tries()
    # the pause grows with what was tried, whatever was given back to the budget
    most_pauses = max(len(settings.republish_pauses), 1)
    *first, longest = (instant(now - settings.pause_after(count)) for count in range(most_pauses + 1))
    before = case(*((tried == count, at) for count, at in enumerate(first)), else_=longest)
    rested = or_(events.c.last_sent_at.is_(None), events.c.last_sent_at <= before)
    columns = (events.c.id, events.c.type, events.c.order_id, events.c.created_at, events.c.arrived_at)
    query = (
        select(*columns, superseded().label("superseded"), tried.label("tries"))
        .where(events.c.account == account, is_open(events), events.c.delivery == Delivery.MISSED)
        .where(events.c.sends < most, rested)
        .where(events.c.type != "porting_order.deleted", ~superseded(), ~_spoken_for(now - settings.plan_expires))
        .order_by(events.c.created_at, events.c.id)
        .limit(LARGEST)
    )
    return [row for row in connection.execute(query).mappings() if is_uuid(row["id"])]


def tries() -> ColumnElement[int]:
    """Return SQL: how often the event was sent."""
    query = select(func.count()).where(same_event(republishes, events), republishes.c.sent_at.is_not(None))
    return query.correlate(events).scalar_subquery()


def superseded_count(connection: Connection, account: str) -> int:
    """Return how many missed events are left alone because their order has moved on."""
    query = select(func.count()).where(
        events.c.account == account, is_open(events), events.c.delivery == Delivery.MISSED, superseded()
    )
    return int(connection.execute(query).scalar_one())


def named(connection: Connection, account: Account, asked: Asked) -> tuple[list[RowMapping], dict[str, int]]:
    """Return the events a person named, and how many were left out, by reason.

    :raises PlanError: naming the id that is unknown, has nothing to send, or needs a consent that is missing.
    """
    if unknown := set(asked.consents) - set(Consent):
        raise PlanError(f"consents: {sorted(unknown)} unknown, expected some of {', '.join(Consent)}")
    wanted = sorted(set(asked.ids))
    if len(wanted) > LARGEST:
        raise PlanError(f"event_ids: {len(wanted)} ids, expected at most {LARGEST} in one plan")
    query = select(events, superseded().label("superseded"), tries().label("tries"))
    mine = (events.c.account == account.id, account.ledger.among(events.c.id, wanted))
    found = connection.execute(query.where(*mine).order_by(events.c.created_at, events.c.id)).mappings().all()
    if absent := sorted(set(wanted) - {row["id"] for row in found}):
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise PlanError(f"event_ids: {absent[0]!r}{more} not in the ledger: scan or backfill first")
    chosen, left_out = [], Counter[str]()
    for row in found:
        reason = _obstacle(row, frozenset(asked.consents))
        if reason is None:
            chosen.append(row)
        elif asked.leave_out:
            left_out[reason] += 1
        elif reason == NO_UUID:
            raise PlanError(f"event_ids: {row['id']!r} is no UUID: Telnyx cannot be asked to send it")
        elif reason == NO_PAYLOAD:
            raise PlanError(f"event_ids: {row['id']!r} has no payload yet, there is nothing to send")
        else:
            raise PlanError(f"event_ids: {row['id']!r} is {reason}; sending it needs the consent {reason!r}")
    return chosen, dict(left_out)


def _obstacle(row: RowMapping, consents: frozenset[str]) -> str | None:
    """Return why an event cannot go: what tells most."""
    if not is_uuid(row["id"]):
        return NO_UUID
    if row["payload_status"] != PayloadStatus.COMPLETED and row["has_webhook"]:
        return NO_PAYLOAD
    return next((kind.value for kind in Consent if kind in needs(row) - consents), None)


def needs(row: RowMapping) -> set[str]:
    """Return the consents without which an event is not sent."""
    found = {row["delivery"] or Delivery.PENDING} & set(Consent)  # some are named like a delivery
    if row["delivery"] == Delivery.NOT_EXPECTED or not row["has_webhook"]:
        found.add(Consent.EMAIL_ONLY)
    if row["superseded"]:
        found.add(Consent.SUPERSEDED)
    if row["type"] == "porting_order.deleted":
        found.add(Consent.DELETED)
    return found


def read_order(account: Account, client: TelnyxClient, order_id: str) -> None:
    """Store what Telnyx has of one order: the ledger may know none of its events, or only the newer ones.

    :raises FormError: neither Telnyx nor the ledger knows the order.
    :raises NotScannedError: the account was never scanned.
    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user.
    """
    now = account.clock()
    with account.ledger.read() as connection:
        scanned(connection, account.id)
    client = accept(account, client)
    if found := list(client.iter_porting_events(porting_order_id=order_id)):
        store(account, found, now)
        decide(account)
        return
    with account.ledger.read() as connection:
        mine = (events.c.account == account.id, events.c.order_id == order_id.lower())
        held = connection.execute(select(events.c.id).where(*mine).limit(1)).first()
    if held is None:
        try:
            client.get_porting_order(order_id)
        except NotFoundError:
            expected = "an order of this account; Telnyx knows no such order"
            raise FormError("porting_order_id", order_id, expected) from None


def select_ids(
    account: Account,
    *,
    order_id: str | None = None,
    event_type: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[str]:
    """Return the held events of an order, or of a type within a closed `created_at` range, in event-time order.

    :raises PlanError: when nothing narrows the selection, the range is impossible, or it is not in the ledger.
    """
    if order_id is None and (event_type is None or since is None or until is None):
        raise PlanError("select events by ids, by order, or by event type together with a time range")
    if since and until and since > until:
        raise PlanError(f"from {since.isoformat()} is after to {until.isoformat()}: expected from <= to")
    query = select(events.c.id).where(events.c.account == account.id)
    if order_id is not None:
        query = query.where(events.c.order_id == order_id.lower())
    if event_type is not None:
        query = query.where(events.c.type == event_type)
    if since is not None:
        query = query.where(events.c.created_at >= since)
    if until is not None:
        query = query.where(events.c.created_at <= until)
    with account.ledger.read() as connection:
        if order_id is None and since and until:
            covered = scanned(connection, account.id)["covered_until"]
            for begin, end in gaps(connection, account.id, since, min(until, covered)):
                missing = f"{begin.isoformat()} to {end.isoformat()}"
                raise PlanError(f"the ledger does not hold {missing}: let porting_backfill read it first")
        found = list(connection.execute(query.order_by(events.c.created_at, events.c.id).limit(LARGEST + 1)).scalars())
    if len(found) > LARGEST:
        raise PlanError(f"the selection holds more than {LARGEST} events: narrow its time range")
    return found


def _spoken_for(lately: datetime) -> ColumnElement[bool]:
    """Return SQL: awaiting a verdict, refused by Telnyx, or lately by a person: only a person asks again."""
    mine = same_event(republishes, events)
    rejected = exists().where(
        mine,
        plans.c.account == republishes.c.account,
        plans.c.id == republishes.c.plan_id,
        plans.c.closed_at > lately,
        plans.c.close_reason.startswith(CloseReason.REJECTED),
    )
    sent = exists().where(mine, or_(is_unresolved(republishes), republishes.c.state == Republish.REFUSED))
    return or_(sent.correlate(events), rejected.correlate(events))
