"""What of a row could not be read as it is meant: that reads as None, the rest counts, and somebody is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from telnyx_porting.models.keys import DELETED, NEW_COMMENT, STATUS_CHANGED
from telnyx_porting.models.reading import YEARS, dict_of, items_of, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from telnyx_porting.models.events import PortingEvent

UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
"""An id as Telnyx writes them: a regular expression."""
_UUID = re.compile(UUID)
_ORDER_TEXTS = (
    "customer_reference",
    "customer_group_reference",
    "support_key",
    "parent_support_key",
    "webhook_url",
    "phone_number_type",
    "activation_settings.activation_status",
    "messaging.messaging_port_status",
    "status.value",
)
_ORDER_TIMES = (
    "created_at",
    "updated_at",
    "activation_settings.foc_datetime_requested",
    "activation_settings.foc_datetime_actual",
)
_PAYLOAD_TIMES = {STATUS_CHANGED: ("updated_at",), DELETED: ("deleted_at",), NEW_COMMENT: ("comment.inserted_at",)}


def is_uuid(value: object) -> bool:
    """Whether this is an id as Telnyx writes them, fit to enter a path."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def odd_order(raw: dict[str, Any]) -> tuple[str, ...]:
    """Say what of an order as received could not be read: names of fields, never what people wrote."""
    found = [*_no_uuid("id", raw.get("id")), *_no_texts(raw, _ORDER_TEXTS), *_no_times(raw, _ORDER_TIMES)]
    return tuple(found)


def odd_event(event: PortingEvent) -> tuple[str, ...]:
    """Say the same of an event."""
    raw = event.raw
    found = [*_no_uuid("id", event.id), *_no_times(raw, ("created_at", "updated_at"))]
    if event.created_at is None and not found:
        found.append("created_at is missing")
    order, payload = raw.get("porting_order_id"), raw.get("payload")
    if order is not None:
        found += _no_uuid("porting_order_id", order)
    found += _no_texts(raw, ("event_type", "payload_status"))
    if payload is not None and not isinstance(payload, dict):
        found.append(f"payload is {_kind(payload)}, no object")
    body = dict_of(payload)
    if event.event_type == STATUS_CHANGED:
        found += [f"payload.{text}" for text in _no_texts(body, ("status.value",))]
    found += [f"payload.{text}" for text in _no_times(body, _PAYLOAD_TIMES.get(event.event_type, ()))]
    return tuple(found)


def odd_delivery(raw: dict[str, Any]) -> tuple[str, ...]:
    """Say the same of a delivery record."""
    found = [*_no_texts(raw, ("status",)), *_no_times(raw, ("started_at", "finished_at", "webhook.occurred_at"))]
    if not isinstance(raw.get("webhook"), dict):
        found.append("webhook is no object")
    found += _no_texts(raw, ("webhook.id", "webhook.event_type"))
    for number, attempt in enumerate(items_of(raw.get("attempts"))):
        if isinstance(attempt, dict):
            found += [f"attempts[{number}].{text}" for text in _no_times(attempt, ("started_at", "finished_at"))]
        else:
            found.append(f"attempts[{number}] is {_kind(attempt)}, no object")
    return tuple(found)


def _no_uuid(name: str, value: object) -> Iterator[str]:
    if not is_uuid(value):
        said = repr(value[:40]) if isinstance(value, str) else _kind(value)
        yield f"{name} is {said}, no UUID"


def _no_texts(raw: dict[str, Any], paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        value = _at(raw, path)
        if value is not None and not isinstance(value, str):
            yield f"{path} is {_kind(value)}, no text"


def _no_times(raw: dict[str, Any], paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        value = _at(raw, path)
        if value is not None and parse_time(value) is None:
            said = repr(value[:40]) if isinstance(value, str) else _kind(value)
            yield f"{path} is {said}, no time from {YEARS[0]} to {YEARS[-1]}"


def _at(raw: dict[str, Any], path: str) -> Any:
    value: Any = raw
    for name in path.split("."):
        value = dict_of(value).get(name)
    return value


def _kind(value: object) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "missing" if value is None else "something else")
