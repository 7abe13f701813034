"""Whatever the ledger holds of one order, and whichever kind or word fails: every other order is told as without it."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.status import listing
from telnyx_porting.flows.findings.kinds import foc as findings_foc
from telnyx_porting.ledger.tables import events, orders
from tests.support.odd import LONG, SURROGATE
from tests.support.watched import Watched, order_id, quick

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

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
    ("porting_findings", "triage", "[]"),
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

    def fails(*given: Any) -> Any:
        if order_id(1) in given:
            raise OverflowError("date value out of range")
        return real(*given)

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
