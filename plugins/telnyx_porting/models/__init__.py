"""
What Telnyx's API says, as frozen Python values.

Rules, all from the published structure: no field is required, so a missing or oddly shaped one reads as None
and never breaks a list; unknown event types, statuses and codes are kept as they are. An event keeps the JSON
object as received (``raw``), so nothing is lost; its typed attributes are views on it.
"""

from __future__ import annotations

from telnyx_porting.models.events import (
    DeletedEvent,
    LoaUpdatedEvent,
    MessagingChangedEvent,
    NewCommentEvent,
    PortingEvent,
    SharingTokenExpiredEvent,
    SplitEvent,
    StatusChangedEvent,
    UnknownPortingEvent,
    parse_event,
)
from telnyx_porting.models.keys import (
    DELETED,
    EVENT_TYPES,
    LOA_UPDATED,
    MESSAGING_CHANGED,
    NEW_COMMENT,
    SHARING_TOKEN_EXPIRED,
    SPLIT,
    STATUS_CHANGED,
    WEBHOOK_TYPES,
    NaturalKey,
    natural_key,
)
from telnyx_porting.models.oddities import UUID, is_uuid, odd_event
from telnyx_porting.models.reading import load_json, meant, parse_time, same_instant
from telnyx_porting.models.records import (
    DeliveryAttempt,
    PortingOrder,
    RateLimit,
    Subscription,
    Webhook,
    WebhookDelivery,
    parse_delivery,
    parse_order,
    parse_webhook_object,
)

__all__ = [
    "DELETED",
    "EVENT_TYPES",
    "LOA_UPDATED",
    "MESSAGING_CHANGED",
    "NEW_COMMENT",
    "SHARING_TOKEN_EXPIRED",
    "SPLIT",
    "STATUS_CHANGED",
    "UUID",
    "WEBHOOK_TYPES",
    "DeletedEvent",
    "DeliveryAttempt",
    "LoaUpdatedEvent",
    "MessagingChangedEvent",
    "NaturalKey",
    "NewCommentEvent",
    "PortingEvent",
    "PortingOrder",
    "RateLimit",
    "SharingTokenExpiredEvent",
    "SplitEvent",
    "StatusChangedEvent",
    "Subscription",
    "UnknownPortingEvent",
    "Webhook",
    "WebhookDelivery",
    "is_uuid",
    "load_json",
    "meant",
    "natural_key",
    "odd_event",
    "parse_delivery",
    "parse_event",
    "parse_order",
    "parse_time",
    "parse_webhook_object",
    "same_instant",
]
