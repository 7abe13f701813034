"""One odd row never stops the rest: whatever it is and wherever it comes in, every other is stored, judged and told.

Each oddity is told once, as a health finding, however often it is met.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import select

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.deliveries.pull import read_deliveries
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.flows.desk.status import listing
from telnyx_porting.flows.events.audit import audit
from telnyx_porting.flows.events.backfill import backfill
from telnyx_porting.flows.events.coverage import gaps
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.flows.events.unread import AGAIN
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.flows.orders.sync import sync_orders
from telnyx_porting.ledger.tables import deliveries, findings, orders, windows
from tests.support.odd import FAR, FIRST, LONG, NEAR_FAR, SURROGATE
from tests.support.provider import ACCOUNT, DAY, HOUR, MINUTE, Provider
from tests.support.watched import quick

if TYPE_CHECKING:
    from telnyx_porting.flows.alerts.channels import Channel, Message
    from telnyx_porting.settings import Settings


@dataclass
class Odd:
    """How a row is shown, and whether it can still be stored."""

    name: str
    row: dict[str, Any] | None = None
    without: tuple[str, ...] = ()
    instead: Any = None
    stored: bool = True
    told: bool = True

    @property
    def fault(self) -> dict[str, Any]:
        return {"row": self.row, "without": self.without, "instead": self.instead}


UNREAD = [
    Odd("no id", without=("id",), stored=False),
    Odd("null id", row={"id": None}, stored=False),
    Odd("number id", row={"id": 7}, stored=False),
    Odd("empty id", row={"id": ""}, stored=False),
    Odd("endless id", row={"id": LONG}, stored=False),
    Odd("null", instead=None, stored=False),
    Odd("a list", instead=[1, 2], stored=False),
    Odd("text", instead=SURROGATE, stored=False),
]
ODD_EVENTS = [
    *UNREAD,
    Odd("id is no UUID", row={"id": "e-7"}),
    Odd("id with NUL", row={"id": SURROGATE}),
    Odd("created_at missing", without=("created_at",)),
    Odd("created_at far", row={"created_at": FAR}),
    Odd("created_at first", row={"created_at": FIRST}),
    Odd("created_at a number", row={"created_at": 17}),
    Odd("updated_at far", row={"updated_at": NEAR_FAR}),
    Odd("type a number", row={"event_type": 7}),
    Odd("type unknown and endless", row={"event_type": LONG}, told=False),
    Odd("order a number", row={"porting_order_id": 12}),
    Odd("order no UUID", row={"porting_order_id": SURROGATE}),
    Odd("order endless", row={"porting_order_id": LONG}),
    Odd("payload a list", row={"payload": [1]}),
    Odd("payload time far", row={"payload.updated_at": FAR}),
    Odd("status endless", row={"payload.status.value": LONG}, told=False),
    Odd("status a number", row={"payload.status.value": 10**30}),
    Odd("texts", row={"payload.customer_reference": SURROGATE, "payload.support_key": LONG}, told=False),
    Odd("payload status a list", row={"payload_status": ["completed"]}),
    Odd("methods a text", row={"available_notification_methods": "webhook"}, told=False),
]
ODD_ORDERS = [
    *UNREAD,
    Odd("id is no UUID", row={"id": SURROGATE}),
    Odd("agreed FOC far", row={"activation_settings.foc_datetime_actual": FAR}),
    Odd("agreed FOC far, other zone", row={"activation_settings.foc_datetime_actual": NEAR_FAR}),
    Odd("agreed FOC first", row={"activation_settings.foc_datetime_actual": FIRST}),
    Odd("requested FOC far", row={"activation_settings.foc_datetime_requested": FAR}),
    Odd("updated_at far", row={"updated_at": FAR}),
    Odd("created_at first", row={"created_at": FIRST}),
    Odd("activation a text", row={"activation_settings": "soon"}, told=False),
    Odd("status a number", row={"status.value": 3}),
    Odd("status endless", row={"status.value": LONG}, told=False),
    Odd("user a number", row={"user_id": 7}, told=False),
    Odd("count endless", row={"porting_phone_numbers_count": 10**15}, told=False),
    Odd("reference a number", row={"customer_reference": 7}),
    Odd(
        "texts",
        row={"customer_reference": SURROGATE, "support_key": LONG, "country": LONG, "end_user.location": LONG},
        told=False,
    ),
    Odd("codes", row={"status.details": [None, 7, {"code": SURROGATE, "description": LONG}, {"code": 7}]}, told=False),
]


def sets(table: list[Odd]) -> list[list[Odd]]:
    """All that cannot be stored together, all that can, and a few alone."""
    alone = [[one] for one in table if one.name in ("no id", "null", "created_at far", "agreed FOC far", "texts")]
    return [[one for one in table if not one.stored], [one for one in table if one.stored], *alone]


def called(odd: list[Odd]) -> str:
    return odd[0].name if len(odd) == 1 else "all stored" if odd[0].stored else "all unread"


@dataclass
class Desk:
    """The whole watch of one account against the simulator, without Airflow: what it stores, finds and says."""

    provider: Provider
    settings: Settings
    said: list[Message] = field(default_factory=list)

    def cycle(self) -> None:
        world, account = self.provider, ACCOUNT
        world.now += 5 * MINUTE
        ledger, now = world.ledger, world.now

        def send(channel: Channel, message: Message) -> None:
            json.dumps([message.text, list(message.findings)], ensure_ascii=False).encode()  # it can travel
            self.said.append(message)

        with world.client() as client:
            scan(Account(ledger, account, self.settings, lambda: now), client)
            sync_orders(Account(ledger, account, self.settings, lambda: now), client, full=True)
        settle(Account(ledger, account, self.settings, lambda: now))
        reconcile(Account(ledger, account, self.settings, lambda: now), enqueue)
        send_due(Account(ledger, account, self.settings, lambda: now), send)

    def told(self) -> list[tuple[str, str]]:
        return [(message.action, entry["key"]) for message in self.said for entry in message.findings]

    def odd(self) -> list[tuple[str, str]]:
        return [(action, key) for action, key in self.told() if key.startswith(("health:odd", "health:look"))]


@pytest.fixture
def desk(provider: Provider) -> Desk:
    return Desk(provider, quick(first_look_days=2))


@pytest.mark.parametrize("odd", sets(ODD_EVENTS), ids=called)
def test_in_the_list_of_events(desk: Desk, odd: list[Odd], caplog: pytest.LogCaptureFixture) -> None:
    world, sandbox = desk.provider, desk.provider.sandbox
    world.order = sandbox.order(status="submitted")
    around = world.event(4 * HOUR, 3 * HOUR, HOUR)
    stuck = world.event(150 * MINUTE, completed=False)
    for number, one in enumerate(odd):
        age = 2 * HOUR + number * MINUTE
        (spoiled,) = world.event(age, type="porting_order.status_changed", payload=_status(world.order))
        sandbox.fault("odd_row", row_id=spoiled, path="/v2/porting/events*", **one.fault)
    for _ in range(3):
        desk.cycle()
    stored, unread = [one for one in odd if one.stored], [one for one in odd if not one.stored]
    assert {*around, *stuck} <= world.held().keys()
    assert len(world.held()) == 4 + len(stored)
    assert ("firing", f"stuck:{stuck[0]}") in desk.told()
    assert world.feed()["covered_until"] == world.now - desk.settings.settle, "the account would be blind"
    assert desk.odd() == ([("firing", "health:odd:events")] if any(one.told for one in odd) else [])
    caplog.text.encode()
    if not unread:
        assert world.open_windows() == []
        return
    # The stretch is not sealed, and says why, once per row and once for what was read last; until it can be read.
    assert all("cannot be read; everything else is stored" in reason for reason in world.open_windows())
    assert len(unread) <= len(world.open_windows()) <= len(unread) + 1
    sandbox.clear_faults()
    world.now += AGAIN
    desk.cycle()
    assert world.open_windows() == []
    assert len(world.held()) == 4 + len(odd)
    world.check_seals()


def _status(order: str) -> dict[str, Any]:
    return {
        "id": order,
        "customer_reference": "r",
        "support_key": "s",
        "status": {"value": "submitted", "details": []},
        "updated_at": "2026-09-16T13:00:00Z",
    }


def test_unreadable_rows_on_many_pages_and_in_a_backfill(provider: Provider) -> None:
    """Equal unreadable rows have nothing to tell them apart, so pages cannot be added up: all else is stored."""
    made = provider.event(*(timedelta(seconds=30 * n) for n in range(600)))
    for event_id in (made[0], made[1], made[300], made[599]):
        provider.sandbox.fault("odd_row", row_id=event_id, path="/v2/porting/events*", instead=None)
    provider.scan()
    assert len(provider.held()) == 596
    old = provider.event(5 * DAY, 5 * DAY - MINUTE, 5 * DAY - 2 * MINUTE)
    provider.sandbox.fault("odd_row", row_id=old[1], path="/v2/porting/events*", without=["id"])
    with provider.client() as client:
        since = provider.now - 6 * DAY
        account = Account(provider.ledger, ACCOUNT, provider.settings, lambda: provider.now)
        assert backfill(account, client, since, provider.now).left == 0
        assert {old[0], old[2]} <= provider.held().keys()
        with provider.ledger.read() as connection:
            assert gaps(connection, ACCOUNT, since, provider.now - HOUR) == []
        assert audit(account, client, since, provider.now).open_reason
        provider.sandbox.clear_faults()
        provider.now += AGAIN
        for _ in range(4):
            scan(account, client)
        assert len(provider.held()) == 603
        proved = audit(Account(provider.ledger, ACCOUNT, provider.settings, lambda: provider.now), client)
    assert proved.open_reason is None
    with provider.ledger.read() as connection:
        assert not connection.execute(select(windows).where(windows.c.id.startswith("unread:"))).all()


@pytest.mark.parametrize("odd", sets(ODD_ORDERS), ids=called)
def test_in_the_list_of_orders(desk: Desk, odd: list[Odd], caplog: pytest.LogCaptureFixture) -> None:
    world, sandbox = desk.provider, desk.provider.sandbox
    many = [sandbox.order(status="exception", customer_reference=f"branch-{n}", codes=["OTHER"]) for n in range(3)]
    spoiled = [sandbox.order(status="exception", codes=["OTHER"]) for _ in odd]
    for order, one in zip(spoiled, odd, strict=True):
        sandbox.fault("odd_row", row_id=order, path="/v2/porting_orders*", **one.fault)
    for _ in range(3):
        desk.cycle()
    assert {("firing", f"exception:{order}") for order in many} <= set(desk.told())
    with world.ledger.read() as connection:
        held = {row.id: row for row in connection.execute(select(orders).where(orders.c.account == ACCOUNT))}
    assert all(held[order].customer_reference == f"branch-{n}" for n, order in enumerate(many))
    assert all(held[order].api_read_at == world.now for order in many)
    assert len(held) == 4 + sum(one.stored for one in odd)  # the provider has one of its own
    assert desk.odd() == ([("firing", "health:odd:orders")] if any(one.told for one in odd) else [])
    listing(Account(world.ledger, ACCOUNT, desk.settings, lambda: world.now)).encode()
    caplog.text.encode()


ODD_RECORDS = [
    *UNREAD,
    Odd("id is no UUID", row={"id": SURROGATE}),
    Odd("times far", row={"started_at": FAR, "finished_at": NEAR_FAR, "webhook.occurred_at": FIRST}),
    Odd("webhook a text", row={"webhook": LONG}),
    Odd("webhook's parts", row={"webhook.id": 7, "webhook.payload": [SURROGATE]}),
    Odd("attempts", row={"attempts": [None, 7, {"started_at": FAR, "errors": 7, "http": SURROGATE}]}),
    Odd("no attempts", row={"attempts": None}),
]


@pytest.mark.parametrize("odd", [ODD_RECORDS, *([one] for one in ODD_RECORDS[:2])], ids=["all", "no id", "null id"])
def test_in_the_list_of_delivery_records(provider: Provider, odd: list[Odd]) -> None:
    world, sandbox = provider, provider.sandbox
    sandbox.subscribe(sandbox.sink_url())
    for _ in range(3 + len(odd)):
        sandbox.act(world.order, "comment", complete_after=0)
    sandbox.settle()
    with httpx.Client(headers=sandbox.headers) as http:
        records = [row["id"] for row in http.get(f"{sandbox.base_url}/webhook_deliveries").json()["data"]]
    for record, one in zip(records, odd, strict=False):
        sandbox.fault("odd_row", row_id=record, path="/v2/webhook_deliveries*", **one.fault)
    now = datetime.now(UTC) + HOUR
    for _ in range(2):
        with world.client() as client:
            result = read_deliveries(Account(world.ledger, ACCOUNT, world.settings, lambda: now), client)
        reconcile(Account(world.ledger, ACCOUNT, world.settings, lambda: now), enqueue)
    assert result.covered_until is not None, "the account would never be judged"
    assert result.proved
    with world.ledger.read() as connection:
        held = set(connection.execute(select(deliveries.c.record_id)).scalars())
        told = connection.execute(select(findings.c.key).where(findings.c.key.startswith("health:odd"))).scalars().all()
    assert set(records[len(odd) :]) <= held
    assert told == ["health:odd:deliveries"]
