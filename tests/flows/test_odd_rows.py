"""One odd row never stops the rest: whatever it is and wherever it comes in, every other is stored, judged and told.

Each oddity is told once, as a health finding, however often it is met.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.deliveries.pull import read_deliveries
from telnyx_porting.flows.deliveries.receipts import read_receipt, store_receipts
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.flows.deliveries.table import read_table
from telnyx_porting.flows.desk.findings import listing
from telnyx_porting.flows.events.audit import audit
from telnyx_porting.flows.events.backfill import backfill
from telnyx_porting.flows.events.coverage import gaps
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.flows.events.unread import AGAIN
from telnyx_porting.flows.findings.kinds import foc as findings_foc
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.flows.orders.sync import sync_orders
from telnyx_porting.ledger.tables import deliveries, events, findings, orders, windows
from telnyx_porting.ledger.types import EPOCH, LATEST, LONGEST_WORD, Instant, Word
from telnyx_porting.models import parse_order, parse_time
from telnyx_porting.settings import Settings
from tests.support.provider import ACCOUNT, DAY, HOUR, MINUTE, Provider
from tests.support.rows import NOW, add_event, add_feed, add_watch, event_row
from tests.support.watched import Watched, order_id, quick

if TYPE_CHECKING:
    from telnyx_porting.flows.alerts.channels import Channel, Message
    from telnyx_porting.ledger.engine import Ledger

FAR, NEAR_FAR, FIRST = "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"
SURROGATE, LONG = "a\ud800\x00b", "x" * 100_000


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


WEBHOOK = {"event_type": "porting_order.status_changed", "occurred_at": "2026-10-01T11:00:00Z"}
BODIES: list[Any] = [
    WEBHOOK,
    WEBHOOK | {"id": 7, "payload": [1]},
    WEBHOOK | {"id": LONG, "payload": {"id": LONG, "status": {"value": LONG}, "updated_at": FAR}},
    WEBHOOK | {"id": SURROGATE, "payload": {"id": SURROGATE, "status": {"value": SURROGATE}, "updated_at": FIRST}},
    WEBHOOK | {"occurred_at": FAR, "payload": {"id": "o", "status": {"value": "x"}, "updated_at": NEAR_FAR}},
    {"event_type": SURROGATE},
    {"event_type": "porting_order.messaging_changed", "occurred_at": FAR, "payload": {"id": "o", "messaging": {}}},
    {"event_type": "porting_order.split", "payload": {"from": 1, "to": {"id": LONG}}},
    {},
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("source", ["receiver", "table:warehouse"])
def test_in_what_arrived(ledger: Ledger, source: str, body: Any) -> None:
    """Odd evidence beside good evidence: what arrived is `arrived`, and nothing else is."""
    add_watch(ledger)
    add_feed(ledger, source)
    settings = Settings(consumer_of_record=source)
    arrived, lost = (add_event(ledger, created_at=NOW - timedelta(minutes=50 + n)) for n in range(2))
    row = event_row(ledger, arrived)
    good = WEBHOOK | {"payload": {"id": row.order_id, "status": {"value": "submitted"}, "updated_at": row.natural_at}}
    written = [json.dumps({"data": each}).encode() for each in (body, good, body)]
    at = NOW - timedelta(minutes=49)
    if source == "receiver":
        receipts = [read_receipt(ACCOUNT, each, at + timedelta(seconds=n), "/w", NOW) for n, each in enumerate(written)]
        store_receipts(ledger, [ACCOUNT], receipts, {}, NOW)
    else:
        rows = [{"id": n, "received_at": at, "body": each} for n, each in enumerate(written)]
        read_table(Account(ledger, ACCOUNT, settings, lambda: NOW), source, lambda since: rows)
    for _ in range(2):
        settle(Account(ledger, ACCOUNT, settings, lambda: NOW))
        reconcile(Account(ledger, ACCOUNT, settings, lambda: NOW), enqueue)
    assert event_row(ledger, arrived).delivery == "arrived"
    assert event_row(ledger, lost).delivery == "missed"
    with ledger.read() as connection:
        assert len(connection.execute(select(deliveries)).all()) == 3
        kept = connection.execute(select(findings).where(findings.c.key.startswith("health:odd"))).all()
    assert len(kept) <= 1
    assert all(one.revision == one.occurrence == 1 for one in kept)


@pytest.mark.parametrize("far", [FAR, NEAR_FAR, FIRST])
def test_a_webhook_of_an_odd_time_proves_no_other_event(ledger: Ledger, far: str) -> None:
    """The order's event of the same status, whose own webhook was lost, is not called arrived by it."""
    add_watch(ledger)
    add_feed(ledger, "receiver")
    lost = add_event(ledger, created_at=NOW - timedelta(minutes=50))
    for _ in range(3):  # else nothing is decided: the evidence would not seem to cover port-ins
        add_event(ledger, delivery="arrived", arrived_at=NOW)
    row = event_row(ledger, lost)
    body = WEBHOOK | {"payload": {"id": row.order_id, "status": {"value": "submitted"}, "updated_at": far}}
    receipt = read_receipt(ACCOUNT, json.dumps({"data": body}).encode(), NOW - timedelta(minutes=50), "/w", NOW)
    store_receipts(ledger, [ACCOUNT], [receipt], {}, NOW)
    settle(Account(ledger, ACCOUNT, Settings(consumer_of_record="receiver"), lambda: NOW))
    assert event_row(ledger, lost).delivery == "missed"


ODD_TABLE_ROWS: list[dict[str, Any]] = [
    {"id": None},
    {"id": SURROGATE, "destination": SURROGATE},
    {"received_at": None},
    {"received_at": FAR},
    {"received_at": datetime(9999, 12, 31, tzinfo=UTC)},
    {"received_at": datetime(1, 1, 1)},
    {"received_at": "soon"},
    {"signed_at": 10**30},
    {"signed_at": float("inf")},
    {"ok": "maybe"},
    {"body": 7},
    {"body": SURROGATE},
    {"webhook_id": LONG, "body": None, "event_type": LONG, "order_id": 7},
]


@pytest.mark.parametrize("odd", ODD_TABLE_ROWS, ids=range(len(ODD_TABLE_ROWS)))
def test_in_a_table_of_yours(ledger: Ledger, odd: dict[str, Any]) -> None:
    source = "table:warehouse"
    add_watch(ledger)
    add_feed(ledger, source, covered_until=NOW - timedelta(hours=1))
    settings = Settings(consumer_of_record=source)
    event = add_event(ledger)
    good = {"received_at": NOW - timedelta(minutes=50), "webhook_id": event, "event_type": WEBHOOK["event_type"]}
    rows = [{"id": 1, "received_at": NOW, "body": "{}"} | odd, good | {"id": 2}]
    for _ in range(2):
        result = read_table(Account(ledger, ACCOUNT, settings, lambda: NOW), source, lambda since: rows)
        settle(Account(ledger, ACCOUNT, settings, lambda: NOW))
        reconcile(Account(ledger, ACCOUNT, settings, lambda: NOW), enqueue)
    assert (result.records, result.new_attempts) == (2, 0)
    assert result.covered_until == NOW - settings.settle
    assert event_row(ledger, event).delivery == "arrived"
    with ledger.read() as connection:
        kept = connection.execute(select(findings).where(findings.c.key.startswith("health:odd"))).all()
    assert [(one.key, one.revision) for one in kept] in ([], [("health:odd:table:warehouse", 1)])


# -- what is in the ledger already -------------------------------------------------------------------------------------

CORRUPT = [
    ("porting_orders", "foc_actual", 2**62),
    ("porting_orders", "foc_actual", -(2**62)),
    ("porting_orders", "status_since", 2**62),
    ("porting_orders", "messaging_since", -(2**62)),
    ("porting_orders", "codes", "[[1, 2], 3, null"),
    ("porting_orders", "codes", '[7, [null], {"a": 1}]'),
    ("porting_orders", "api_codes", "[1, [2]]"),
    ("porting_orders", "customer_reference", "\x01not json"),
    ("porting_orders", "number_count", -5),
    ("porting_findings", "detail", "{"),
    ("porting_findings", "detail", '{"codes": 7, "foc": "yesterday", "entered": 12, "episode": "x"}'),
    ("porting_findings", "hands", "[]"),
    ("porting_findings", "since", 2**62),
    ("porting_events", "payload", "[1"),
    ("porting_events", "created_at", 1),
    ("porting_events", "updated_at", 2**62),
]


@pytest.mark.parametrize(("table", "column", "value"), CORRUPT)
def test_in_the_ledger(ledger: Ledger, table: str, column: str, value: Any) -> None:
    """Whatever one order's rows hold: every other order's exception, question and date is told as without it."""
    watched = Watched(ledger, quick(alert_channels=("desk:json", "pager:slack")))
    for number in (1, 2, 3):
        watched.status(number, "exception", "OTHER")
        watched.comment(number, "admin", "please answer", at=watched.now + timedelta(seconds=1))
        watched.reading(
            number, "exception", "OTHER", activation_settings={"foc_datetime_actual": "2026-09-18T13:00:00Z"}
        )
    watched.cycle()
    first = {entry for entry in watched.told() if order_id(2) not in entry[1]}
    assert len({key for _, key, _ in first}) >= 6
    where = {"porting_orders": "id", "porting_findings": "order_id", "porting_events": "order_id"}[table]
    with ledger.write() as connection:
        connection.execute(
            text(f"UPDATE {table} SET {column} = :value WHERE {where} = :id"), {"value": value, "id": order_id(2)}
        )
    watched.later(days=1)
    for number in (1, 3):
        watched.status(number, "ported")
    watched.status(2, "exception", "OTHER")  # so that its row is computed anew, together with theirs
    watched.status(4, "exception", "OTHER")
    for _ in range(3):
        watched.later(minutes=5)
        watched.cycle()
        listing(Account(ledger, watched.account, watched.settings, lambda: watched.now))
    told = {(action, key) for action, key, _ in watched.told("pager:slack")}
    assert ("firing", f"exception:{order_id(4)}") in told
    for number in (1, 3):
        assert ("resolved", f"exception:{order_id(number)}") in told
        assert ("resolved", f"question:{order_id(number)}") in told
    looks = [key for action, key, _ in watched.told("pager:slack") if key.startswith("health:look")]
    assert len(looks) == len(set(looks)), "told once"


# -- kinds and words that fail -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
def test_a_kind_that_fails_is_a_finding_and_stops_no_other(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    watched = Watched(ledger)
    settings = {"activation_settings": {"foc_datetime_actual": "2026-09-10T13:00:00Z"}}
    for number in (1, 2):
        watched.reading(number, "submitted", **settings)
    watched.cycle()
    overdue = [f"foc:{order_id(number)}/overdue" for number in (1, 2)]
    assert {key for _, key, _ in watched.told()} >= set(overdue)
    real = findings_foc._of_order

    def fails(look: Any, row: Any, *rest: Any) -> Any:
        if row["id"] == order_id(1):
            raise OverflowError("date value out of range")
        return real(look, row, *rest)

    def fails_whole(look: Any) -> Any:
        with contextlib.suppress(DBAPIError):
            look.connection.execute(text("SELECT nonsense"))  # after which PostgreSQL refuses every further statement
        raise KeyError("a column")

    if whole:
        monkeypatch.setattr(findings_foc, "_problems", fails_whole)
    else:
        monkeypatch.setattr(findings_foc, "_of_order", fails)
    watched.sent.clear()
    for number in (1, 2):  # no longer overdue, if only somebody could tell
        watched.reading(number, "ported")
    watched.status(3, "exception", "OTHER")
    watched.status(1, "submitted", at=watched.now + timedelta(hours=1))
    for _ in range(3):
        watched.later(minutes=90)
        watched.cycle()
    told = [(action, key) for action, key, _ in watched.told()]
    assert ("firing", f"exception:{order_id(3)}") in told
    assert [entry for entry in told if entry[1].startswith("health:")] == [("firing", "health:look:foc")]
    assert ("resolved", overdue[0]) not in told, "nobody can tell whether it is over"
    assert (("resolved", overdue[1]) in told) is not whole
    monkeypatch.undo()
    watched.later(minutes=5)
    watched.cycle()
    assert ("resolved", "health:look:foc") in [(action, key) for action, key, _ in watched.told()]


def test_words_that_fail_are_said_shortly_and_stop_no_other(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    from telnyx_porting.flows.alerts import text as alerts_text

    watched = Watched(ledger, quick(alert_channels=("desk:json", "second:json"), digest_at="06:00"))
    real = alerts_text._view

    def fails(finding: Any, *rest: Any) -> Any:
        if finding["order_id"] == order_id(1):
            raise KeyError("a word")
        return real(finding, *rest)

    monkeypatch.setattr(alerts_text, "_view", fails)
    watched.statuses(range(1, 4), "exception")
    watched.cycle()
    for channel in ("desk:json", "second:json"):
        told = {key for action, key, _ in watched.told(channel) if action == "firing"}
        assert {f"exception:{order_id(number)}" for number in (1, 2, 3)} <= told
    short = [entry["text"] for _, message in watched.sent for entry in message.findings if order_id(1) in entry["key"]]
    assert all("its words cannot be made" in words for words in short)
    watched.later(minutes=1)
    watched.cycle()
    watched.later(days=1)
    watched.cycle()
    assert [key for _, key, _ in watched.told("desk:json")].count("health:wording") >= 1
    assert any(message.action == "digest" for _, message in watched.sent)


# -- foreign times and words -------------------------------------------------------------------------------------------

TIMES = st.datetimes(timezones=st.sampled_from([UTC, None])).map(lambda at: at.isoformat())


@given(TIMES)
def test_no_foreign_time_can_overflow(written: str) -> None:
    """Every foreign time is read by one function; a century may be added to what it gives."""
    moment = parse_time(written)
    order = parse_order({"id": "o", "activation_settings": {"foc_datetime_actual": written}, "updated_at": written})
    assert order.foc_actual == order.updated_at == moment
    assert bool(order.odd) == (moment is None) or order.odd[0].startswith("id is")
    if moment is not None:
        century = timedelta(days=36_500)
        for zone in (timedelta(0), timedelta(hours=14)):
            assert EPOCH < moment < LATEST
            moment + century + zone
            moment - century - zone


@given(st.integers(-(2**63), 2**63 - 1))
def test_no_time_of_the_ledger_can_overflow(value: int) -> None:
    moment = Instant().process_result_value(value, None)  # type: ignore[arg-type]
    assert moment is not None
    assert EPOCH <= moment <= LATEST


ANY = st.characters(codec=None)


@given(st.one_of(st.text(ANY, max_size=300), st.builds(lambda one, times: one * times, ANY, st.integers(0, 3_000))))
def test_a_word_fits_an_index_and_finds_itself(value: str) -> None:
    word = Word()
    written = word.process_bind_param(value, None)
    assert written is not None
    assert len(written.encode()) <= LONGEST_WORD
    assert written == word.bind_all([value])[0] == word.process_bind_param(value, None)
    if len(value) <= LONGEST_WORD // 8:
        assert word.process_result_value(written, None) == value  # type: ignore[arg-type]


def test_events_of_one_order_stay_together_however_it_is_called(ledger: Ledger) -> None:
    watched = Watched(ledger)
    for odd in (SURROGATE, LONG, "\x01", "no uuid"):
        raw = watched.raw_status(9, "exception", "OTHER")
        raw["porting_order_id"] = raw["payload"]["id"] = odd
        watched.tell(raw)
    watched.look()
    with ledger.read() as connection:
        held = connection.execute(select(orders.c.id, orders.c.status)).all()
        told = {row.order_id for row in connection.execute(select(events.c.order_id))}
    assert {row.id for row in held} == told
    assert {row.status for row in held} == {"exception"}
