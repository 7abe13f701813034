"""The JSON the API shows for events, orders and deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.sandbox.world import catalog, payloads
from include.sandbox.world.times import iso, iso_ms

if TYPE_CHECKING:
    from include.sandbox.world.model import Attempt, Delivery, Event, Json, Order
    from include.sandbox.world.switches import Switches

_NUMBERS_SHOWN = 50
_ERROR_TITLES = {
    75000: "Delivery error",
    75001: "Name not resolved",
    75002: "No connection",
    75003: "Certificate misconfigured",
    75300: "Redirect",
    75400: "Bad request",
    75404: "Not found",
    75499: "Client error",
    75500: "Server error",
    75599: "Server error",
}


def event(one: Event, switches: Switches) -> Json:
    """Write an event."""
    payload = one.payload if one.completed else None
    shown: Json = {
        "id": one.id,
        "event_type": one.type,
        "porting_order_id": one.order_id,
        "available_notification_methods": catalog.methods(one.type),
        "payload_status": "completed" if one.completed else "created",
        "payload": payload,
    }
    times = {"record_type": "porting_event", "created_at": iso(one.created_us), "updated_at": iso(one.updated_us)}
    if one.type == catalog.DELETED and switches.deleted_created_at == "payload":
        # a payload that is not there yet has no room for them either
        shown["payload"] = {**payload, **times} if payload is not None else None
        return shown
    return shown | times


def order(one: Order, user_id: str, *, with_numbers: bool) -> Json:
    """Write an order."""
    shown: Json = {
        "id": one.id,
        "record_type": "porting_order",
        "user_id": user_id,
        "status": {"value": one.status, "details": catalog.details(one.codes)},
        "customer_reference": one.customer_reference,
        "customer_group_reference": one.customer_group_reference,
        "support_key": one.support_key,
        "parent_support_key": one.parent_support_key,
        "webhook_url": one.webhook_url,
        "activation_settings": {
            "foc_datetime_requested": _ms(one.foc_requested_us),
            "foc_datetime_actual": _ms(one.foc_actual_us),
            "fast_port_eligible": one.fast_port_eligible,
            "activation_status": one.activation_status,
        },
        "messaging": payloads.messaging(one),
        "misc": {"type": one.port_type, "remaining_numbers_action": None, "new_billing_phone_number": None},
        "end_user": {
            "admin": {"entity_name": one.entity_name, "auth_person_name": one.auth_person_name},
            "location": {"country_code": one.country_code},
        },
        "porting_phone_numbers_count": len(one.numbers),
        "phone_number_type": one.phone_number_type,
        "requirements": [],
        "requirements_met": one.status != "draft",
        "documents": {"loa": None, "invoice": None},
        "additional_steps": [],
        "old_service_provider_ocn": one.carrier_name,
        "user_feedback": {"user_rating": None, "user_comment": None},
        "phone_numbers": [],
        "created_at": iso_ms(one.created_us),
        "updated_at": iso_ms(one.updated_us),
    }
    if with_numbers:
        shown["phone_numbers"] = [_number(one, n.phone_number) for n in one.numbers[:_NUMBERS_SHOWN]]
    return shown


def delivery(one: Delivery, user_id: str, switches: Switches) -> Json:
    """Write a delivery record."""
    drifted = switches.delivery_shape == "drifted"
    webhook = dict(one.webhook)
    if drifted:
        webhook["event_type"] = webhook["event_type"].replace(".", "_")
    return {
        "id": one.id,
        "user_id": user_id,
        "record_type": "webhook_delivery",
        "status": "delivered" if one.delivered else "failed",
        "webhook": webhook,
        "started_at": iso_ms(one.started_us),
        "finished_at": iso_ms(one.finished_us),
        "attempts": [_attempt(a, one.url, switches, drifted) for a in reversed(one.attempts)],
    }


def _attempt(one: Attempt, url: str, switches: Switches, drifted: bool) -> Json:
    errors: list[Any] = list(one.errors)
    if switches.delivery_errors == "objects":
        errors = [
            {"code": str(e), "title": _ERROR_TITLES.get(e, "Delivery error"), "detail": "The webhook was not taken"}
            for e in errors
        ]
    http: Json = {"request": {"url": url, "headers": _headers(one.request_headers, drifted)}}
    if one.status is not None:
        http["reponse" if drifted else "response"] = {
            "status": one.status,
            "headers": _headers(one.response_headers, drifted),
            "body": one.body,
        }
    return {
        "status": "delivered" if one.ok else "failed",
        "started_at": iso_ms(one.started_us),
        "finished_at": iso_ms(one.finished_us),
        "errors": errors,
        "http": http,
    }


def _headers(pairs: list[tuple[str, str]], drifted: bool) -> list[Any]:
    return [f"{name}: {value}" if drifted else [name, value] for name, value in pairs]


def _number(one: Order, phone_number: str) -> Json:
    return {
        "record_type": "porting_phone_number",
        "phone_number": phone_number,
        "phone_number_type": one.phone_number_type,
        "porting_order_id": one.id,
        "porting_order_status": one.status,
        "support_key": one.support_key or "",
        "portability_status": "confirmed",
        "requirements_status": "approved",
        "activation_status": one.activation_status or "New",
    }


def _ms(us: int | None) -> str | None:
    return None if us is None else iso_ms(us)
