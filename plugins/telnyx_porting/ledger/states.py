"""The words for states that the ledger stores, and how an event and a republish go from one to the next.

EVENT.delivery: did its notification arrive? Null is *new*: to be looked at.

    new --the rule--> pending --due, and nothing came--> missed --every send is spent--> given_up
     ^     |             ^-----the rule, at each look------'                                |
     |     |--> arrived: for ever                                                           |
     |     '--> not_expected, undetermined                                                  |
     |                  |                                                                   |
     '------ sent again, a new match, its budget given back (from all but arrived) ---------'

REPUBLISH.state, of one event of one plan:

    planned --claim--> sending --204--> accepted --new evidence--> arrived
     |  ^               | | |              |--due time passed inside the coverage--> not_arrived
     |  '--429, no link-' | |              '--nobody can tell--> unknown, settled
     |                    | '--no answer, 5xx, crash--> unknown, open: leaves as accepted does
     |                    '--404, 4xx--> refused --it says nothing about the event--> dropped
     '--not needed any more, plan closed--> dropped

    not_arrived --late evidence--> arrived | unknown, settled
"""

from __future__ import annotations

from enum import StrEnum


class Feed(StrEnum):
    """What is read, and known to be complete up to a time. Tables of yours are `table:<connection>`."""

    EVENTS = "events"
    ORDERS = "orders"
    DELIVERIES = "deliveries"
    RECEIVER = "receiver"
    SUBSCRIPTIONS = "subscriptions"
    EXCEPTION_TYPES = "exception_types"


class PayloadStatus(StrEnum):
    """Of an event, in Telnyx's words: whether its webhook's payload has been generated."""

    CREATED = "created"
    COMPLETED = "completed"


class Delivery(StrEnum):
    """Whether an event's notification arrived: `flows/deliveries/arrival.py` is the rule."""

    NOT_EXPECTED = "not_expected"
    UNDETERMINED = "undetermined"
    PENDING = "pending"
    MISSED = "missed"
    GIVEN_UP = "given_up"
    ARRIVED = "arrived"


class Cause(StrEnum):
    """Why an event is missed."""

    FAILED = "failed"  # a try is on record
    NO_TRACE = "no_trace"


class Match(StrEnum):
    """How it was decided which event a delivery proves; null: it waits, or was not looked at."""

    ID = "id"
    KEY = "key"
    NONE = "none"
    AMBIGUOUS = "ambiguous"  # between events that are near
    FAR = "far"  # it fits events, and none that is near


class Republish(StrEnum):
    """What became of one event of a plan. `unknown` has its verdict only once `settled_at` is set."""

    PLANNED = "planned"
    SENDING = "sending"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    ARRIVED = "arrived"
    NOT_ARRIVED = "not_arrived"
    DROPPED = "dropped"


UNRESOLVED = (Republish.SENDING, Republish.ACCEPTED, Republish.UNKNOWN)
"""Sent, or perhaps sent: without a verdict as long as `settled_at` is null."""


class Consent(StrEnum):
    """What a person agrees to for one plan: that it holds events of a kind that the watch never sends by itself."""

    ARRIVED = "arrived"
    PENDING = "pending"
    EMAIL_ONLY = "email_only"
    GIVEN_UP = "given_up"
    SUPERSEDED = "superseded"
    DELETED = "deleted"
    UNDETERMINED = "undetermined"


class CloseReason(StrEnum):
    """Why a plan was closed. Others are sentences: why it was halted, who closed it."""

    DONE = "done"
    EXPIRED = "expired"
    UNANSWERED = "nobody answered"
    REJECTED = "rejected"  # and by whom


class AlertStatus(StrEnum):
    """Of one finding's message to one channel."""

    QUEUED = "queued"
    SENT = "sent"
    RESOLVING = "resolving"
    RESOLVED = "resolved"
    DROPPED = "dropped"
    BASELINE = "baseline"


class AlertAction(StrEnum):
    """What a message says of its findings."""

    FIRING = "firing"
    CHANGED = "changed"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    DIGEST = "digest"


class MadeBy(StrEnum):
    """What read a window."""

    SCAN = "scan"
    BACKFILL = "backfill"
    AUDIT = "audit"
    NIGHT = "night"  # an audit of the part whose turn it was
    AGAIN = "again"  # an audit of what could not be proved before


AUDITS = (MadeBy.AUDIT, MadeBy.NIGHT, MadeBy.AGAIN)


class Method(StrEnum):
    """How an audit proved a window."""

    COUNT = "count"  # as long as the provider removes nothing
    IDS = "ids"


class SeenBy(StrEnum):
    """Who told the present status of an order."""

    EVENT = "event"
    ORDER = "order"


# -- from -> to: by what -----------------------------------------------------------------------------------------------

_BY_THE_RULE: dict[Delivery | None, str] = dict.fromkeys(Delivery, "the rule")
_ANEW: dict[Delivery | None, str] = {None: "sent again, or a new match"}

EVENT_MOVES: dict[Delivery | None, dict[Delivery | None, str]] = {
    None: _BY_THE_RULE,
    Delivery.PENDING: _BY_THE_RULE | _ANEW,
    Delivery.MISSED: _BY_THE_RULE | _ANEW,
    Delivery.GIVEN_UP: {None: "sent again, a new match, or its budget is given back"},
    Delivery.UNDETERMINED: _ANEW,
    Delivery.NOT_EXPECTED: _ANEW,
    Delivery.ARRIVED: {},
}

_VERDICTS = {
    Republish.ARRIVED: "new evidence that is credited to it",
    Republish.NOT_ARRIVED: "its due time passed inside the coverage",
    Republish.UNKNOWN: "nobody can tell",
}
REPUBLISH_MOVES: dict[Republish, dict[Republish, str]] = {
    Republish.PLANNED: {
        Republish.SENDING: "claimed",
        Republish.DROPPED: "not needed any more, or its plan was closed",
    },
    Republish.SENDING: {
        Republish.ACCEPTED: "204",
        Republish.REFUSED: "404 or another 4xx",
        Republish.UNKNOWN: "no answer, 5xx, or its process died",
        Republish.PLANNED: "certainly not processed: no connection, 429, 401",
    },
    Republish.ACCEPTED: _VERDICTS,
    Republish.UNKNOWN: _VERDICTS,  # while it is not settled
    Republish.NOT_ARRIVED: {
        Republish.ARRIVED: "late evidence",
        Republish.UNKNOWN: "late evidence that is not credited to it",
    },
    Republish.REFUSED: {Republish.DROPPED: "the refusal says nothing about the event"},
    Republish.ARRIVED: {},
    Republish.DROPPED: {},
}

# -- words of Telnyx's on which an index rests -------------------------------------------------------------------------

CLOSED = ("ported", "cancelled", "canceled", "deleted")
MESSAGING_OPEN = ("pending", "activating", "exception")
