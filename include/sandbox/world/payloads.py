"""Payloads of events, written from the order as it is at that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.sandbox.world import catalog
from include.sandbox.world.times import iso, iso_ms

if TYPE_CHECKING:
    from include.sandbox.world.model import Json, Order

WITHOUT_ORDER_FIELDS = frozenset({catalog.NEW_COMMENT, catalog.SPLIT})


def status_changed(order: Order) -> Json:
    """Write the payload of a status change."""
    return {
        "id": order.id,
        "customer_reference": order.customer_reference,
        "support_key": order.support_key,
        "status": {"value": order.status, "details": catalog.details(order.codes)},
        "updated_at": iso(order.updated_us),
        "webhook_url": order.webhook_url,
    }


def new_comment(order: Order, comment_id: str, body: str, user_id: str | None, user_type: str, at_us: int) -> Json:
    """Write the payload of a comment."""
    return {
        "porting_order_id": order.id,
        "support_key": order.support_key,
        "comment": {
            "id": comment_id,
            "body": body,
            "user_id": user_id,
            "user_type": user_type,
            "inserted_at": iso_ms(at_us),
        },
    }


def split(source_id: str, target_id: str, number_ids: list[str]) -> Json:
    """Write the payload of a split."""
    return {
        "from": {"id": source_id},
        "to": {"id": target_id},
        "porting_phone_numbers": [{"id": number_id} for number_id in number_ids],
    }


def messaging(order: Order) -> Json:
    """Write the messaging part of an order."""
    return {
        "enable_messaging": order.messaging_enabled,
        "messaging_capable": order.messaging_enabled,
        "messaging_port_completed": order.messaging_status == "ported",
        "messaging_port_status": order.messaging_status,
    }


def messaging_changed(order: Order) -> Json:
    """Write the payload of a messaging change."""
    return {
        "id": order.id,
        "customer_reference": order.customer_reference,
        "support_key": order.support_key,
        "messaging": messaging(order),
    }


def deleted(order: Order, at_us: int) -> Json:
    """Write the payload of a deletion."""
    return {"id": order.id, "customer_reference": order.customer_reference, "deleted_at": iso_ms(at_us)}
