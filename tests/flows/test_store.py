"""What a row may become: forwards only, lossless, one bad row never the batch."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.events.store import store
from telnyx_porting.ledger.tables import events
from telnyx_porting.models.events import parse_event

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
A, B = "telnyx_default", "another"


def event(n: int = 1, **given: Any) -> Any:
    at = (NOW - timedelta(hours=1)).isoformat()
    raw = {
        "id": f"00000000-0000-0000-0000-{n:012d}",
        "event_type": "porting_order.status_changed",
        "porting_order_id": "11111111-0000-0000-0000-000000000000",
        "available_notification_methods": ["email", "webhook"],
        "payload_status": "completed",
        "payload": {"id": "11111111-0000-0000-0000-000000000000", "status": {"value": "submitted"}, "updated_at": at},
        "created_at": at,
        "updated_at": at,
    }
    return parse_event(raw | given)


def rows(ledger: Ledger) -> list[Any]:
    with ledger.read() as connection:
        return list(connection.execute(select(events).order_by(events.c.account, events.c.id)))


def later(**by: float) -> str:
    return (NOW - timedelta(hours=1) + timedelta(**by)).isoformat()


@pytest.mark.parametrize("many", [1, 700], ids=["one", "many"])
def test_nothing_goes_back(ledger: Ledger, many: int) -> None:
    def batch(**given: Any) -> list[Any]:
        return [event(n, **given) for n in range(many)]

    assert store(Account(ledger, A), batch(payload_status="created", payload=None), NOW).new == many
    assert store(Account(ledger, A), batch(updated_at=later(seconds=5)), NOW + timedelta(minutes=5)).changed == many
    held = rows(ledger)[-1]
    assert (held.payload_status, held.completed_seen_at) == ("completed", NOW + timedelta(minutes=5))
    # Older, emptier and unfinished copies change nothing, in whatever batch they come.
    for stale in ({"payload_status": "created", "payload": None}, {"payload": None}, {"updated_at": later(seconds=1)}):
        assert store(Account(ledger, A), batch(**stale), NOW + timedelta(minutes=9)).changed == 0
    forged = batch(payload_status="created", payload={"id": "older draft"}, updated_at=later(hours=1))
    store(Account(ledger, A), forged, NOW + timedelta(minutes=9))
    again = rows(ledger)[-1]
    kept = ("id", "created_at", "payload_status", "payload", "natural_key", "value", "completed_seen_at")
    assert all(getattr(held, name) == getattr(again, name) for name in kept)
    assert len(rows(ledger)) == many


def test_a_payload_may_come_without_a_newer_time(ledger: Ledger) -> None:
    store(Account(ledger, A), [event(payload=None)], NOW)
    assert store(Account(ledger, A), [event()], NOW).changed == 1
    assert rows(ledger)[0].natural_key


def test_a_removed_payload_does_not_come_back(ledger: Ledger) -> None:
    store(Account(ledger, A), [event()], NOW)
    with ledger.write() as connection:
        connection.execute(update(events).values(payload=None, pruned=True))
    store(Account(ledger, A), [event(updated_at=later(hours=2))], NOW)
    row = rows(ledger)[0]
    assert (row.payload, row.pruned) == (None, True)
    assert row.natural_key


def test_accounts_are_apart_and_doubles_inside_a_batch_are_one(ledger: Ledger) -> None:
    batch = [event(n % 300) for n in range(900)]
    for account in (A, B):
        store(Account(ledger, account), batch, NOW)
    assert len(rows(ledger)) == 600


def test_what_another_stored_between_our_look_and_our_write_is_one_row(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = ledger.held

    def another_is_faster(*about: Any) -> Any:
        known = look(*about)
        monkeypatch.undo()
        assert (
            store(Account(ledger, A), [event(n, updated_at=later(minutes=5)) for n in range(100, 300)], NOW).new == 200
        )
        return known

    monkeypatch.setattr(ledger, "held", another_is_faster)
    store(Account(ledger, A), [event(n) for n in range(200)], NOW)
    held = rows(ledger)
    assert len(held) == 300
    assert {row.updated_at.isoformat() for row in held[100:]} == {later(minutes=5)}


POISON = [
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff tail",
    "\x01",
    '\x01"x"',
    "\U0001f600",
    "é",
    "'; drop table x; --",
    "\n\t\r",
]


@pytest.mark.parametrize("many", [1, 200], ids=["one", "many"])
@pytest.mark.parametrize("text", POISON, ids=ascii)
def test_hostile_text_is_kept_as_it_is(ledger: Ledger, text: str, many: int) -> None:
    fields = {"id": f"id{text}", "event_type": f"type{text}", "porting_order_id": text, "payload_status": f"s{text}"}
    body = {"id": text, text: [text, {"deep": text}], "big": 10**40}
    store(Account(ledger, A), [event(n) for n in range(1, many)] + [event(**fields, payload=body)], NOW)
    row = next(row for row in rows(ledger) if row.type.startswith("type"))
    assert {"id": row.id, "event_type": row.type, "porting_order_id": row.order_id} == {
        k: fields[k] for k in ("id", "event_type", "porting_order_id")
    }
    assert (row.payload_status, row.payload) == (fields["payload_status"], body)
    assert len(rows(ledger)) == many


def test_one_row_that_no_database_takes_costs_its_payload_and_nobody_elses(ledger: Ledger) -> None:
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    store(Account(ledger, A), [event(n) for n in range(100)] + [event(500, payload={"deep": deep})], NOW)
    held = rows(ledger)
    assert len(held) == 101
    assert held[-1].payload is None
    assert all(row.payload for row in held[:-1])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(payloads=st.lists(st.dictionaries(st.text(), JSON, max_size=4), min_size=1, max_size=4), pad=st.booleans())
def test_every_json_comes_back_as_it_was(ledger: Ledger, payloads: list[Any], pad: bool) -> None:
    with ledger.write() as connection:
        connection.execute(events.delete())
    batch = [event(n, payload=payload) for n, payload in enumerate(payloads)]
    store(Account(ledger, A), batch + ([event(n) for n in range(100, 180)] if pad else []), NOW)
    held = [row.payload for row in rows(ledger)[: len(payloads)]]
    assert json.dumps(held, sort_keys=True) == json.dumps(payloads, sort_keys=True)


@pytest.mark.parametrize(
    ("payload", "copies"),
    [
        (None, 0),
        ({}, 0),
        ({"porting_phone_numbers": []}, 0),
        ({"porting_phone_numbers": "two"}, 0),
        ({"porting_phone_numbers": [{"id": "a"}]}, 1),
        ({"porting_phone_numbers": [{"id": "a"}, {"id": None}, 7]}, 3),
    ],
)
def test_a_split_promises_as_many_webhooks_as_numbers_are_listed(ledger: Ledger, payload: Any, copies: int) -> None:
    """An id that cannot be read is a number all the same; and a list that was read is not forgotten."""
    split = {"event_type": "porting_order.split", "payload": payload}
    store(Account(ledger, A), [event(**split)], NOW)
    assert rows(ledger)[0].copies == copies
    store(Account(ledger, A), [event(**split, updated_at=later(seconds=9)), event(2)], NOW)
    assert [row.copies for row in rows(ledger)] == [copies, 1]
