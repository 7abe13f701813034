"""Port-in events: frozen views on the JSON as received."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

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


def own_field(raw: dict[str, Any], name: str) -> Any:
    """Read a field of the event itself; newer ``deleted`` events carry some of them in the payload."""
    value = raw.get(name)
    if value is None and raw.get("event_type") == DELETED:
        return dict_of(raw.get("payload")).get(name)
    return value


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
        return text_of(own_field(self.raw, "created_at"))

    @property
    def updated_at(self) -> datetime | None:
        """When Telnyx last changed the event."""
        return parse_time(own_field(self.raw, "updated_at"))

    @property
    def record_type(self) -> str | None:
        """``porting_event``."""
        return text_of(own_field(self.raw, "record_type"))

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

    def _in_payload(self, *path: str) -> Any:
        value: Any = self.raw.get("payload")
        for name in path:
            value = dict_of(value).get(name)
        return value


class UnknownPortingEvent(PortingEvent):
    """An event of a type that was not published when this was written; everything is in ``raw``."""

    __slots__ = ()


class StatusChangedEvent(PortingEvent):
    """The order has a new status."""

    __slots__ = ()

    @property
    def status(self) -> str | None:
        """The new status; the set is open."""
        return text_of(self._in_payload("status", "value"))

    @property
    def status_details(self) -> tuple[tuple[str, str | None], ...]:
        """``(code, description)`` of each reason; codes are an open set, descriptions are for people."""
        return details_of(dict_of(self._in_payload("status")))

    @property
    def customer_reference(self) -> str | None:
        """The customer's own name of the order."""
        return text_of(self._in_payload("customer_reference"))

    @property
    def support_key(self) -> str | None:
        """Telnyx support's key of the order."""
        return text_of(self._in_payload("support_key"))

    @property
    def status_updated_at(self) -> datetime | None:
        """When the order got this status."""
        return parse_time(self._in_payload("updated_at"))

    @property
    def webhook_url(self) -> str | None:
        """The order's own webhook URL, if set."""
        return text_of(self._in_payload("webhook_url"))


class NewCommentEvent(PortingEvent):
    """A comment was added to the order."""

    __slots__ = ()

    @property
    def comment_id(self) -> str | None:
        """The comment's id."""
        return text_of(self._in_payload("comment", "id"))

    @property
    def comment_body(self) -> str | None:
        """The comment; customer data."""
        return text_of(self._in_payload("comment", "body"))

    @property
    def comment_user_type(self) -> str | None:
        """``user``, ``admin`` (carrier staff) or ``system``."""
        return text_of(self._in_payload("comment", "user_type"))

    @property
    def commented_at(self) -> datetime | None:
        """When the comment was written."""
        return parse_time(self._in_payload("comment", "inserted_at"))


class SplitEvent(PortingEvent):
    """Numbers moved to another order."""

    __slots__ = ()

    @property
    def from_order_id(self) -> str | None:
        """The order the numbers left."""
        return text_of(self._in_payload("from", "id"))

    @property
    def to_order_id(self) -> str | None:
        """The order the numbers went to."""
        return text_of(self._in_payload("to", "id"))

    @property
    def phone_number_ids(self) -> tuple[str, ...]:
        """Ids of the numbers moved; one webhook is promised for each."""
        moved = items_of(self._in_payload("porting_phone_numbers"))
        numbers = (dict_of(number).get("id") for number in moved)
        return tuple(number for number in numbers if isinstance(number, str))


class MessagingChangedEvent(PortingEvent):
    """The messaging part of the port changed."""

    __slots__ = ()

    @property
    def messaging_port_status(self) -> str | None:
        """The messaging state; the set is open."""
        return text_of(self._in_payload("messaging", "messaging_port_status"))

    @property
    def messaging_port_completed(self) -> bool | None:
        """Whether messaging is ported."""
        return flag_of(self._in_payload("messaging", "messaging_port_completed"))


class DeletedEvent(PortingEvent):
    """A draft was deleted."""

    __slots__ = ()

    @property
    def deleted_at(self) -> datetime | None:
        """When."""
        return parse_time(self._in_payload("deleted_at"))


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
    Make the event of one JSON object, of the class of its type.

    :param raw: the object as received
    :raises ValueError: when it is no object or has no ``id``: such a row can be neither counted nor stored
    """
    event_id = id_of(raw, "an event")
    # Most of the time of a listing is spent here, so the usual shapes come first and cost little.
    try:
        moment = datetime.fromisoformat(raw["created_at"])
        usual = moment.tzinfo is UTC and moment.year in YEARS
        created_at = moment if usual else parse_time(raw["created_at"])
    except (KeyError, TypeError, ValueError):
        created_at = parse_time(own_field(raw, "created_at"))
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
