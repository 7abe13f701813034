"""Orders, webhooks, delivery records and the small things around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from telnyx_porting.models.keys import NaturalKey, canonical_type, natural_key, order_of
from telnyx_porting.models.oddities import odd_delivery, odd_order
from telnyx_porting.models.reading import details_of, dict_of, id_of, items_of, number_of, parse_time, text_of

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class PortingOrder:
    """
    A porting order, without the end user's personal data.

    Field names and shapes: Telnyx's OpenAPI. ``country_code`` is the end user's location's, the only country
    an order carries. Statuses and codes are open sets. ``odd``: what of it could not be read, in words.
    """

    id: str
    user_id: str | None
    status: str | None
    status_details: tuple[tuple[str, str | None], ...]
    created_at: datetime | None
    updated_at: datetime | None
    customer_reference: str | None
    customer_group_reference: str | None
    support_key: str | None
    parent_support_key: str | None
    webhook_url: str | None
    foc_requested: datetime | None
    foc_actual: datetime | None
    activation_status: str | None
    messaging_status: str | None
    phone_numbers_count: int | None
    phone_number_type: str | None
    country_code: str | None
    odd: tuple[str, ...] = ()


def parse_order(raw: dict[str, Any]) -> PortingOrder:
    """
    Make the order of one JSON object as received.

    :raises ValueError: when it is no object or has no ``id``
    """
    order_id = id_of(raw, "an order")
    activation = dict_of(raw.get("activation_settings"))
    status = dict_of(raw.get("status"))
    return PortingOrder(
        id=order_id,
        user_id=text_of(raw.get("user_id")),
        status=text_of(status.get("value")),
        status_details=details_of(status),
        created_at=parse_time(raw.get("created_at")),
        updated_at=parse_time(raw.get("updated_at")),
        customer_reference=text_of(raw.get("customer_reference")),
        customer_group_reference=text_of(raw.get("customer_group_reference")),
        support_key=text_of(raw.get("support_key")),
        parent_support_key=text_of(raw.get("parent_support_key")),
        webhook_url=text_of(raw.get("webhook_url")),
        foc_requested=parse_time(activation.get("foc_datetime_requested")),
        foc_actual=parse_time(activation.get("foc_datetime_actual")),
        activation_status=text_of(activation.get("activation_status")),
        messaging_status=text_of(dict_of(raw.get("messaging")).get("messaging_port_status")),
        phone_numbers_count=number_of(raw.get("porting_phone_numbers_count")),
        phone_number_type=text_of(raw.get("phone_number_type")),
        country_code=text_of(dict_of(dict_of(raw.get("end_user")).get("location")).get("country_code")),
        odd=odd_order(raw),
    )


@dataclass(frozen=True, slots=True)
class Webhook:
    """
    A notification as sent to a receiver, from either envelope.

    :param id: the webhook's id; whether it equals the event's is undocumented
    :param event_type: as an event spells it
    :param occurred_at: when it happened, according to Telnyx
    :param payload: as received
    :param order_id: the order the payload is about
    :param natural_key: what it shares with its event
    :param attempt: which try it is, from 1, where the envelope says it
    :param delivered_to: the URL called, where the envelope says it
    """

    id: str | None
    event_type: str
    occurred_at: datetime | None
    payload: dict[str, Any] | None = field(hash=False, repr=False)
    order_id: str | None
    natural_key: NaturalKey | None
    attempt: int | None = None
    delivered_to: str | None = None


def parse_webhook_object(data: dict[str, Any], meta: dict[str, Any] | None = None) -> Webhook:
    """
    Make the webhook of its ``data`` (or raw) object; missing parts read as None, a missing type as empty.

    :param data: id, event_type, occurred_at and payload
    :param meta: attempt and delivered_to, where there is one
    """
    event_type = canonical_type(text_of(data.get("event_type")) or "")
    payload = data.get("payload") if isinstance(data.get("payload"), dict) else None
    occurred_at = text_of(data.get("occurred_at"))
    about = meta or {}
    return Webhook(
        id=text_of(data.get("id")),
        event_type=event_type,
        occurred_at=parse_time(occurred_at),
        payload=payload,
        order_id=order_of(event_type, payload),
        natural_key=natural_key(event_type, payload, occurred_at),
        attempt=_ordinal(about.get("attempt")),
        delivered_to=text_of(about.get("delivered_to")),
    )


def _ordinal(value: object) -> int | None:
    number = number_of(value)
    return number if number is not None and number >= 1 else None


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """
    One try of Telnyx to deliver a webhook.

    :param error_codes: Telnyx's codes as text, e.g. ``75002`` no connection
    :param http_status: what the receiver answered, None when it did not
    :param url: where it was sent
    """

    status: str | None
    started_at: datetime | None
    finished_at: datetime | None
    error_codes: tuple[str, ...]
    http_status: int | None
    url: str | None


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """
    Telnyx's record of delivering one webhook; ``delivered`` proves a 2xx and no more.

    :param status: ``delivered``, or ``failed`` when all attempts failed
    :param attempts: the most recent first
    :param odd: what of it could not be read, in words
    """

    id: str
    status: str | None
    webhook: Webhook
    started_at: datetime | None
    finished_at: datetime | None
    attempts: tuple[DeliveryAttempt, ...]
    odd: tuple[str, ...] = ()


def parse_delivery(raw: dict[str, Any]) -> WebhookDelivery:
    """
    Make the delivery record of one JSON object as received, in any of the shapes the facts list.

    :raises ValueError: when it is no object or has no ``id``
    """
    delivery_id = id_of(raw, "a delivery record")
    attempts = tuple(_attempt(item) for item in items_of(raw.get("attempts")) if isinstance(item, dict))
    return WebhookDelivery(
        id=delivery_id,
        status=text_of(raw.get("status")),
        webhook=parse_webhook_object(dict_of(raw.get("webhook"))),
        started_at=parse_time(raw.get("started_at")),
        finished_at=parse_time(raw.get("finished_at")),
        attempts=attempts,
        odd=odd_delivery(raw),
    )


def _attempt(raw: dict[str, Any]) -> DeliveryAttempt:
    http = dict_of(raw.get("http"))
    # Telnyx's own documents misspell the key in places.
    response = dict_of(http.get("response") or http.get("reponse"))
    return DeliveryAttempt(
        status=text_of(raw.get("status")),
        started_at=parse_time(raw.get("started_at")),
        finished_at=parse_time(raw.get("finished_at")),
        error_codes=tuple(code for code in map(_error_code, items_of(raw.get("errors"))) if code),
        http_status=number_of(response.get("status")),
        url=text_of(dict_of(http.get("request")).get("url")),
    )


def _error_code(error: object) -> str | None:
    """Read an error given as 75002, "75002" or ``{"code": ...}``."""
    value = error.get("code") if isinstance(error, dict) else error
    number = number_of(value)
    return text_of(value) if number is None else str(number)


@dataclass(frozen=True, slots=True)
class Subscription:
    """
    One subscription to port-in notifications.

    :param channel_type: ``webhook``, ``email``, ``sms`` or ``voice``
    :param destination: URL or address
    :param status: ``enabled`` counts as active, everything else as in flight
    """

    channel_type: str | None
    destination: str | None
    status: str | None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """
    What the last answer's rate-limit headers said.

    :param limit: requests per window
    :param remaining: requests left in the window
    :param reset_at: when the window ends, on our clock
    """

    limit: int | None
    remaining: int | None
    reset_at: datetime | None
