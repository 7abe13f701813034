"""Port-in events: frozen views on the JSON as received."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from telnyx_porting.models.keys import (
    DELETED,
    LOA_UPDATED,
    MESSAGING_CHANGED,
    NEW_COMMENT,
    SHARING_TOKEN_EXPIRED,
    SPLIT,
    STATUS_CHANGED,
    WEBHOOK_TYPES,
    NaturalKey,
    natural_key,
    order_of,
)
from telnyx_porting.models.reading import (
    YEARS,
    details_of,
    dict_of,
    flag_of,
    id_of,
    items_of,
    parse_time,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def _own_field(raw: dict[str, Any], name: str) -> Any:
    """Read a field of the event itself; newer ``deleted`` events carry some of them in the payload."""
    value = raw.get(name)
    if value is None and raw.get("event_type") == DELETED:
        return dict_of(raw.get("payload")).get(name)
    return value


class _InPayload(Generic[T]):
    """A part of an event's payload, read when it is asked for."""

    def __init__(self, read: Callable[[object], T], *path: str) -> None:
        self._read, self._path = read, path

    def __get__(self, event: PortingEvent, owner: type[PortingEvent]) -> T:
        value: object = event.raw.get("payload")
        for name in self._path:
            value = dict_of(value).get(name)
        return self._read(value)


def _ids(items: object) -> tuple[str, ...]:
    found = (dict_of(item).get("id") for item in items_of(items))
    return tuple(item for item in found if isinstance(item, str))


@dataclass(frozen=True, slots=True, repr=False)
class PortingEvent:
    """
    One port-in event.

    :param raw: the JSON object as received; never changed by us
    :param id: the event's id
    :param created_at: when Telnyx recorded it (a deleted event may say it in its payload); None when not said
    """

    raw: dict[str, Any] = field(hash=False)
    id: str
    created_at: datetime | None

    def __repr__(self) -> str:
        # Payloads are customer data and stay out of logs.
        about = f"id={self.id!r}, event_type={self.event_type!r}, created_at={self.created_at}"
        return f"{type(self).__name__}({about})"

    @property
    def event_type(self) -> str:
        """The type as received; empty when missing."""
        return text_of(self.raw.get("event_type")) or ""

    @property
    def porting_order_id(self) -> str | None:
        """The order, from the event or else from its payload."""
        return text_of(self.raw.get("porting_order_id")) or order_of(self.event_type, self.payload)

    @property
    def available_notification_methods(self) -> tuple[str, ...]:
        """What the event's *type* can use; says not that anybody is subscribed nor that anything was sent."""
        methods = items_of(self.raw.get("available_notification_methods"))
        return tuple(method for method in methods if isinstance(method, str))

    @property
    def payload_status(self) -> str | None:
        """``created``: the webhook's payload is not generated yet; ``completed``: it is."""
        return text_of(self.raw.get("payload_status"))

    @property
    def payload(self) -> dict[str, Any] | None:
        """The webhook's payload as received, or None."""
        payload = self.raw.get("payload")
        return payload if isinstance(payload, dict) else None

    @property
    def created_at_text(self) -> str | None:
        """``created_at`` as written."""
        return text_of(_own_field(self.raw, "created_at"))

    @property
    def updated_at(self) -> datetime | None:
        """When Telnyx last changed the event."""
        return parse_time(_own_field(self.raw, "updated_at"))

    @property
    def supports_webhook(self) -> bool:
        """Whether this event can be told by webhook: its methods decide; without them its type does."""
        methods = self.raw.get("available_notification_methods")
        if isinstance(methods, list):
            return any(isinstance(method, str) and method.startswith("webhook") for method in methods)
        return self.event_type in WEBHOOK_TYPES

    @property
    def natural_key(self) -> NaturalKey | None:
        """What this event shares with its webhooks; None while the payload is not there."""
        return natural_key(self.event_type, self.payload, self.created_at_text)


class UnknownPortingEvent(PortingEvent):
    """An event of a type that was not published when this was written; everything is in ``raw``."""

    __slots__ = ()


class StatusChangedEvent(PortingEvent):
    """The order has a new status."""

    __slots__ = ()

    status = _InPayload(text_of, "status", "value")
    """The new status; the set is open."""
    status_details = _InPayload(lambda value: details_of(dict_of(value)), "status")
    """``(code, description)`` of each reason; codes are an open set, descriptions are for people."""
    status_updated_at = _InPayload(parse_time, "updated_at")
    """When the order got this status."""
    customer_reference = _InPayload(text_of, "customer_reference")
    """The customer's own name of the order."""
    support_key = _InPayload(text_of, "support_key")
    """Telnyx support's key of the order."""
    webhook_url = _InPayload(text_of, "webhook_url")
    """The order's own webhook URL, if set."""


class NewCommentEvent(PortingEvent):
    """A comment was added to the order."""

    __slots__ = ()

    comment_id = _InPayload(text_of, "comment", "id")
    comment_body = _InPayload(text_of, "comment", "body")
    """The comment; customer data."""
    comment_user_type = _InPayload(text_of, "comment", "user_type")
    """``user``, ``admin`` (carrier staff) or ``system``."""
    commented_at = _InPayload(parse_time, "comment", "inserted_at")


class SplitEvent(PortingEvent):
    """Numbers moved to another order."""

    __slots__ = ()

    from_order_id = _InPayload(text_of, "from", "id")
    to_order_id = _InPayload(text_of, "to", "id")
    phone_number_ids = _InPayload(_ids, "porting_phone_numbers")
    """Ids of the numbers moved."""
    numbers_moved = _InPayload(lambda numbers: len(items_of(numbers)), "porting_phone_numbers")
    """How many; one webhook is promised for each. 0: not told, or not yet."""


class MessagingChangedEvent(PortingEvent):
    """The messaging part of the port changed."""

    __slots__ = ()

    messaging_port_status = _InPayload(text_of, "messaging", "messaging_port_status")
    """The messaging state; the set is open."""
    messaging_port_completed = _InPayload(flag_of, "messaging", "messaging_port_completed")


class DeletedEvent(PortingEvent):
    """A draft was deleted."""

    __slots__ = ()

    deleted_at = _InPayload(parse_time, "deleted_at")


class LoaUpdatedEvent(PortingEvent):
    """The letter of authorisation changed; no payload is published."""

    __slots__ = ()


class SharingTokenExpiredEvent(PortingEvent):
    """A sharing token expired; no payload is published."""

    __slots__ = ()


_EVENT_CLASSES: dict[str, type[PortingEvent]] = {
    STATUS_CHANGED: StatusChangedEvent,
    NEW_COMMENT: NewCommentEvent,
    SPLIT: SplitEvent,
    MESSAGING_CHANGED: MessagingChangedEvent,
    DELETED: DeletedEvent,
    LOA_UPDATED: LoaUpdatedEvent,
    SHARING_TOKEN_EXPIRED: SharingTokenExpiredEvent,
}


def parse_event(raw: dict[str, Any]) -> PortingEvent:
    """
    Make the event of one JSON object as received, of the class of its type.

    :raises ValueError: when it is no object or has no ``id``: such a row can be neither counted nor stored
    """
    event_id = id_of(raw, "an event")
    # Most of the time of a listing is spent here, so the usual shapes come first and cost little.
    try:
        moment = datetime.fromisoformat(raw["created_at"])
        usual = moment.tzinfo is UTC and moment.year in YEARS
        created_at = moment if usual else parse_time(raw["created_at"])
    except (KeyError, TypeError, ValueError):
        created_at = parse_time(_own_field(raw, "created_at"))
    try:
        cls = _EVENT_CLASSES[raw["event_type"]]
    except (KeyError, TypeError):
        cls = UnknownPortingEvent
    event = object.__new__(cls)
    _set_raw(event, raw)
    _set_id(event, event_id)
    _set_created_at(event, created_at)
    return event


# What the frozen __init__ does, three times as fast: past __setattr__.
_set_raw = PortingEvent.__dict__["raw"].__set__
_set_id = PortingEvent.__dict__["id"].__set__
_set_created_at = PortingEvent.__dict__["created_at"].__set__
