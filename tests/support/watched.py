"""A small watched account for tests: what Telnyx says goes in, what people are told comes out."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.flows.account import Account, touch_account
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import AlertsResult, send_due
from telnyx_porting.flows.events.store import store
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.flows.findings.reconcile import FindingsResult, reconcile
from telnyx_porting.flows.orders.sync import keep_readings, project_events
from telnyx_porting.models.events import parse_event
from telnyx_porting.models.records import parse_order
from telnyx_porting.settings import Settings

if TYPE_CHECKING:
    from telnyx_porting.flows.alerts.channels import Channel, Message
    from telnyx_porting.ledger.engine import Ledger

START = datetime(2026, 9, 16, 13, 0, tzinfo=UTC)
ACCOUNT = "telnyx_default"


def order_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def write_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class Watched:
    """An account whose first look is over, with one channel of its own, and a clock that tests move."""

    ledger: Ledger
    settings: Settings = field(default_factory=lambda: quick())
    now: datetime = START
    sent: list[tuple[str, Message]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    account: str = ACCOUNT

    def __post_init__(self) -> None:
        with self.ledger.write() as connection:
            touch_account(self.ledger, connection, self.account, watch_from=self.now)
        self.feed(covered_until=self.now)

    def feed(self, **columns: Any) -> None:
        with self.ledger.write() as connection:
            touch_feed(self.ledger, connection, self.account, "events", **columns)

    def later(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    # -- what Telnyx says ----------------------------------------------------------------------------------------

    def tell(self, *raws: dict[str, Any]) -> str:
        batch = [parse_event(raw) for raw in raws]
        store(Account(self.ledger, self.account), batch, self.now)
        return batch[-1].id

    def event(self, kind: str, order: int, payload: Any, at: datetime | None = None, **more: Any) -> str:
        return self.tell(self.raw_event(kind, order, payload, at, **more))

    def raw_event(self, kind: str, order: int, payload: Any, at: datetime | None, **more: Any) -> dict[str, Any]:
        at = at or self.now
        raw = {
            "id": str(uuid.uuid4()),
            "event_type": f"porting_order.{kind}",
            "porting_order_id": order_id(order),
            "available_notification_methods": ["email", "webhook"],
            "payload_status": "completed" if payload is not None else "created",
            "payload": payload,
            "record_type": "porting_event",
            "created_at": write_time(at),
            "updated_at": write_time(at),
        }
        return raw | more

    def status(self, order: int, value: str, *codes: str, at: datetime | None = None, **more: Any) -> str:
        return self.tell(self.raw_status(order, value, *codes, at=at, **more))

    def statuses(self, many: range, value: str) -> None:
        self.tell(*(self.raw_status(order, value) for order in many))

    def raw_status(
        self, order: int, value: str, *codes: str, at: datetime | None = None, **more: Any
    ) -> dict[str, Any]:
        at = at or self.now
        details = [{"code": code, "description": f"about {code}"} for code in codes]
        payload = {
            "id": order_id(order),
            "customer_reference": f"branch-{order}",
            "support_key": f"sr_{order}",
            "status": {"value": value, "details": details},
            "updated_at": write_time(at),
        }
        return self.raw_event("status_changed", order, payload, at, **more)

    def messaging(self, order: int, value: str, at: datetime | None = None) -> str:
        payload = {"id": order_id(order), "messaging": {"messaging_port_status": value}}
        return self.event("messaging_changed", order, payload, at)

    def comment(self, order: int, author: str, body: str, at: datetime | None = None) -> str:
        comment = {
            "id": str(uuid.uuid4()),
            "body": body,
            "user_type": author,
            "inserted_at": write_time(at or self.now),
        }
        return self.event("new_comment", order, {"porting_order_id": order_id(order), "comment": comment}, at)

    def reading(self, order: int, status: str, *codes: str, at: datetime | None = None, **more: Any) -> None:
        raw = {
            "id": order_id(order),
            "status": {"value": status, "details": [{"code": code, "description": None} for code in codes]},
            "updated_at": write_time(at or self.now),
            "created_at": write_time(START - timedelta(days=3)),
            "customer_reference": f"branch-{order}",
            "support_key": f"sr_{order}",
            **more,
        }
        keep_readings(Account(self.ledger, self.account, clock=lambda: self.now), [parse_order(raw)])

    # -- what people are told ------------------------------------------------------------------------------------

    def send(self, channel: Channel, message: Message) -> None:
        if channel.name in self.broken:
            raise ConnectionError("nobody listens")
        self.sent.append((channel.name, message))

    def look(self) -> FindingsResult:
        """One look as the DAGs do it, with the scan just done."""
        self.feed(covered_until=self.now - self.settings.settle)
        project_events(Account(self.ledger, self.account, clock=lambda: self.now))
        return reconcile(Account(self.ledger, self.account, self.settings, lambda: self.now), enqueue)

    def cycle(self) -> AlertsResult:
        """One look, then whatever is due is sent."""
        self.look()
        return self.send_due()

    def send_due(self) -> AlertsResult:
        """Whatever is due is sent."""
        return send_due(Account(self.ledger, self.account, self.settings, lambda: self.now), self.send)

    def told(self, channel: str | None = None) -> list[tuple[str, str, int]]:
        """Return what was told, in order: action, key and occurrence of each finding."""
        return [
            (message.action, entry["key"], entry["occurrence"])
            for name, message in self.sent
            if channel in (None, name)
            for entry in message.findings
        ]


def quick(**more: Any) -> Settings:
    """Settings that tell at once."""
    now = timedelta(0)
    base: dict[str, Any] = {
        "alert_channels": ("desk:json",),
        "group_wait": now,
        "group_interval": now,
        "resolve_hold": now,
        "business_days": "mon-sun",
        "business_hours": "00:00-24:00",
        "digest_at": "off",
    }
    return Settings(**(base | more))
