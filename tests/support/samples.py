"""Bodies in Telnyx's published structure, with invented values."""

from __future__ import annotations

from typing import Any

ORDER = "f6fadfa7-e5c1-4b62-9362-da5cc13da58a"
OTHER_ORDER = "2c63888f-28f0-4481-be6d-dce7a7ace732"
EVENT = "5796a670-482c-490e-8d97-82bfcdc83011"
USER = "a712755f-6cac-44d5-99d5-269512e74f7b"
URL = "https://hooks.example.net/portin"
EXCEPTION = {
    "value": "exception",
    "details": [{"code": "POSTAL_CODE_MISMATCH", "description": "Postal code differs from the carrier record"}],
}
PAYLOADS: dict[str, dict[str, Any]] = {
    "status_changed": {
        "id": ORDER,
        "customer_reference": "north-branch-17",
        "support_key": "sr_4d71e9",
        "status": EXCEPTION,
        "updated_at": "2026-09-16T13:05:44.120551Z",
        "webhook_url": URL,
    },
    "new_comment": {
        "porting_order_id": ORDER,
        "support_key": "sr_4d71e9",
        "comment": {
            "id": "ac8efe12-1c59-49f1-ba2d-de83458bfed0",
            "body": "Please send the last invoice.",
            "user_id": None,
            "user_type": "admin",
            "inserted_at": "2026-09-16T13:20:02.410Z",
        },
    },
    "split": {"from": {"id": ORDER}, "to": {"id": OTHER_ORDER}, "porting_phone_numbers": [{"id": EVENT}]},
    "messaging_changed": {
        "id": ORDER,
        "customer_reference": "north-branch-17b",
        "support_key": "sr_90ce3a",
        "messaging": {
            "enable_messaging": True,
            "messaging_capable": True,
            "messaging_port_completed": False,
            "messaging_port_status": "activating",
        },
    },
    "deleted": {"id": ORDER, "customer_reference": "depot-spare", "deleted_at": "2026-10-05T00:00:09.551Z"},
}


def event(kind: str = "status_changed", **changes: Any) -> dict[str, Any]:
    """One event as the API lists it."""
    return {
        "id": EVENT,
        "event_type": f"porting_order.{kind}",
        "porting_order_id": ORDER,
        "available_notification_methods": ["email", "webhook"],
        "payload_status": "completed",
        "payload": PAYLOADS.get(kind),
        "record_type": "porting_event",
        "created_at": "2026-09-16T13:05:44.201377Z",
        "updated_at": "2026-09-16T13:05:46.880020Z",
    } | changes


def new_deleted_event() -> dict[str, Any]:
    """A ``deleted`` event in the shape of 2026: its times are in its payload."""
    row = event("deleted")
    moved = {name: row.pop(name) for name in ("record_type", "created_at", "updated_at")}
    return row | {"payload": PAYLOADS["deleted"] | moved}


def webhook(kind: str = "status_changed", *, enveloped: bool = True, **changes: Any) -> dict[str, Any]:
    """One webhook, in either envelope."""
    data = {
        "event_type": f"porting_order.{kind}",
        "id": "0c28cec1-b947-42af-a4b9-36976b4b76b0",
        "occurred_at": "2026-09-16T13:05:44Z",
        "payload": PAYLOADS[kind],
    } | changes
    if enveloped:
        return {"data": data | {"record_type": "event"}, "meta": {"attempt": 2, "delivered_to": URL}}
    return data | {"urls": [URL], "organization_id": USER, "format": "v2"}


def order(**changes: Any) -> dict[str, Any]:
    """One order."""
    return {
        "id": ORDER,
        "record_type": "porting_order",
        "user_id": USER,
        "status": EXCEPTION,
        "customer_reference": "north-branch-17",
        "customer_group_reference": "branches-2026",
        "support_key": "sr_4d71e9",
        "parent_support_key": "pr_77b0c2",
        "webhook_url": URL,
        "activation_settings": {
            "foc_datetime_requested": "2026-10-02T15:00:00.000Z",
            "foc_datetime_actual": None,
            "fast_port_eligible": True,
            "activation_status": "New",
        },
        "messaging": {"messaging_port_status": "pending"},
        "end_user": {"admin": {"pin_passcode": "1234"}, "location": {"country_code": "US"}},
        "porting_phone_numbers_count": 2,
        "phone_number_type": "local",
        "created_at": "2026-09-12T10:30:55.410Z",
        "updated_at": "2026-09-16T13:05:44.120Z",
    } | changes


def delivery(**changes: Any) -> dict[str, Any]:
    """One delivery record: two tries, one answered 503."""
    return {
        "id": "77dde229-df88-4e4d-ac23-86e5cc86ba64",
        "user_id": USER,
        "record_type": "webhook_delivery",
        "status": "failed",
        "webhook": webhook()["data"],
        "started_at": "2026-09-16T13:05:45.000Z",
        "finished_at": "2026-09-16T13:05:51.310Z",
        "attempts": [
            {
                "status": "failed",
                "started_at": "2026-09-16T13:05:51.004Z",
                "finished_at": "2026-09-16T13:05:51.310Z",
                "errors": [75599],
                "http": {"request": {"url": URL, "headers": [["Accept", "*/*"]]}, "response": {"status": 503}},
            },
            {
                "status": "failed",
                "started_at": "2026-09-16T13:05:45.000Z",
                "finished_at": "2026-09-16T13:05:47.000Z",
                "errors": [75002],
                "http": {"request": {"url": URL, "headers": []}},
            },
        ],
    } | changes
