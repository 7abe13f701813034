"""Conditions of partial indexes, each written once: `tables.py` builds the index from what the queries say.

A database uses a partial index only where a query has its condition in the same words, so values stand in the
statement itself. Each function takes the table or an alias of it, and returns SQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, or_

from telnyx_porting.ledger.states import (
    CLOSED,
    MESSAGING_OPEN,
    UNRESOLVED,
    AlertStatus,
    Delivery,
    Feed,
    Match,
    PayloadStatus,
)
from telnyx_porting.ledger.types import exactly, fixed
from telnyx_porting.models.keys import MESSAGING_CHANGED, STATUS_CHANGED

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    Condition = ColumnElement[bool]


def is_open(events: FromClause) -> Condition:
    """Whether its notification arrived is not decided: new, pending or missed."""
    delivery = events.c.delivery
    return or_(delivery.is_(None), delivery.in_(fixed(Delivery.PENDING, Delivery.MISSED)))


def not_generated(events: FromClause) -> Condition:
    """Its webhook's payload does not exist yet."""
    return events.c.payload_status != exactly(PayloadStatus.COMPLETED)


def to_project(events: FromClause) -> Condition:
    """Its order's row has not taken it in as it is now."""
    return or_(events.c.projected.is_(None), events.c.projected != events.c.payload_status)


def is_given_up(events: FromClause) -> Condition:
    """It is missed, and its budget of sends is spent."""
    return events.c.delivery == exactly(Delivery.GIVEN_UP)


def order_is_open(orders: FromClause) -> Condition:
    """It, or its messaging part, is not finished."""
    return or_(
        orders.c.status.is_(None),
        orders.c.status.not_in(fixed(*CLOSED)),
        orders.c.messaging_status.in_(fixed(*MESSAGING_OPEN)),
    )


def is_unmatched(deliveries: FromClause) -> Condition:
    """It was looked at, and whose it is was not found, or is unclear."""
    return deliveries.c.matched.in_(fixed(Match.NONE, Match.AMBIGUOUS, Match.FAR))


def is_to_look_at(deliveries: FromClause) -> Condition:
    """A receipt says something about the status of an order that was not looked at since."""
    return and_(
        deliveries.c.looked_at.is_(None),
        deliveries.c.source == exactly(Feed.RECEIVER),
        deliveries.c.type.in_(fixed(STATUS_CHANGED, MESSAGING_CHANGED)),
    )


def is_unresolved(republishes: FromClause) -> Condition:
    """It was sent, or perhaps sent, and has no verdict."""
    return and_(republishes.c.state.in_(fixed(*UNRESOLVED)), republishes.c.settled_at.is_(None))


def alert_is_live(alerts: FromClause) -> Condition:
    """It was told, or is to be told, and is not over."""
    return alerts.c.status.in_(fixed(AlertStatus.QUEUED, AlertStatus.SENT, AlertStatus.RESOLVING))
