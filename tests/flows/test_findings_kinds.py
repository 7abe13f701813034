"""Questions, FOC dates, orders that stay too long, and the watch itself: when each is true, and for how long."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.findings.reconcile import open_findings
from telnyx_porting.flows.findings.triage import acknowledge
from telnyx_porting.ledger.tables import deliveries
from tests.support.found import MONDAY, desk, found
from tests.support.watched import Watched, order_id, write_time

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger


@pytest.fixture
def watched(ledger: Ledger) -> Watched:
    return Watched(ledger, desk(), now=MONDAY)


# -- questions -------------------------------------------------------------------------------------------------------


def test_question_is_severe_after_four_working_hours_and_over_when_answered(watched: Watched) -> None:
    watched.status(1, "in-process")
    watched.later(hours=6)  # 15:00
    watched.comment(1, "admin", "Please send the last invoice.")
    assert found(watched, "question") == {order_id(1): "low"}
    watched.later(hours=12)
    assert found(watched, "question") == {order_id(1): "low"}, "nobody works at night"
    watched.later(hours=8)  # 11:00 the next day
    assert found(watched, "question") == {order_id(1): "high"}
    watched.comment(1, "user", "Here it is.")
    assert found(watched, "question") == {}


@pytest.mark.parametrize("answer", ["status", "acknowledged"])
def test_question_is_over_with_a_new_status_or_when_somebody_knows(watched: Watched, answer: str) -> None:
    watched.status(1, "in-process")
    watched.later(hours=1)
    watched.comment(1, "admin", "Which address?")
    watched.comment(1, "system", "Reminder sent.")
    assert list(found(watched, "question")) == [order_id(1)]
    watched.later(hours=1)
    if answer == "status":
        watched.status(1, "submitted")
    else:
        acknowledge(
            Account(watched.ledger, watched.account, watched.settings, lambda: watched.now),
            f"question:{order_id(1)}",
            "ann",
        )
    assert found(watched, "question") == {}
    watched.later(hours=1)
    watched.comment(1, "admin", "And the PIN?")
    assert list(found(watched, "question")) == [order_id(1)], "a new question is a new occurrence"


def test_comments_of_the_customer_drafts_and_finished_orders_are_no_questions(watched: Watched) -> None:
    watched.comment(1, "user", "Any news?")
    watched.status(2, "draft")
    watched.status(3, "ported")
    watched.later(minutes=1)
    for order in (2, 3):
        watched.comment(order, "admin", "Welcome.")
    watched.later(days=2)
    assert found(watched, "question") == {}


# -- the FOC date ----------------------------------------------------------------------------------------------------


def dates(actual: datetime | None = None, requested: datetime | None = None, **more: Any) -> dict[str, Any]:
    return {
        "activation_settings": {
            "foc_datetime_actual": write_time(actual) if actual else None,
            "foc_datetime_requested": write_time(requested) if requested else None,
            **more,
        }
    }


def test_order_not_ported_four_hours_after_its_date_is_overdue(watched: Watched) -> None:
    date = MONDAY + timedelta(hours=2)
    watched.reading(1, "foc-date-confirmed", **dates(date))
    watched.later(hours=5)
    assert found(watched, "foc") == {}
    watched.later(hours=1)
    assert found(watched, "foc") == {f"{order_id(1)}/overdue": "critical"}
    watched.reading(1, "ported", **dates(date))
    assert found(watched, "foc") == {}


def test_problem_shortly_before_the_date_puts_it_at_risk(watched: Watched) -> None:
    date = MONDAY + timedelta(days=4)  # Friday
    for order, status in enumerate(["exception", "cancel-pending", "foc-date-confirmed"], start=1):
        watched.reading(order, status, **dates(requested=date, actual=date))
    watched.comment(3, "admin", "Who will be on site?", at=MONDAY + timedelta(minutes=1))
    watched.reading(4, "foc-date-confirmed", **dates(date, date))
    watched.later(days=1, hours=23)
    assert found(watched, "foc") == {}
    watched.later(hours=1)
    assert found(watched, "foc") == {f"{order_id(order)}/risk": "critical" for order in (1, 2, 3)}


def test_date_that_passes_does_not_solve_what_endangered_it(watched: Watched) -> None:
    watched.reading(1, "exception", **dates(actual=MONDAY + timedelta(days=1)))
    watched.reading(2, "exception", **dates(requested=MONDAY + timedelta(days=1)))
    both = {f"{order_id(order)}/risk": "critical" for order in (1, 2)}
    assert found(watched, "foc") == both
    watched.later(days=1, hours=5)
    agreed = order_id(1)
    assert found(watched, "foc") == {f"{agreed}/risk": "critical", f"{agreed}/overdue": "critical"}


def test_other_date_than_requested_or_agreed_is_told_until_acknowledged(watched: Watched) -> None:
    asked = MONDAY + timedelta(days=10)
    watched.reading(1, "foc-date-confirmed", **dates(asked, asked))
    assert found(watched, "foc") == {}
    watched.later(hours=1)
    watched.reading(1, "foc-date-confirmed", **dates(asked + timedelta(days=1), asked))
    key = f"{order_id(1)}/changed"
    assert found(watched, "foc") == {key: "high"}
    acknowledge(Account(watched.ledger, watched.account, watched.settings, lambda: watched.now), f"foc:{key}", "ann")
    assert found(watched, "foc") == {}
    watched.later(hours=1)
    watched.reading(1, "foc-date-confirmed", **dates(asked + timedelta(days=2), asked))
    assert found(watched, "foc") == {key: "high"}


def test_numbers_ready_and_nobody_activates(watched: Watched) -> None:
    date = MONDAY + timedelta(hours=1)
    watched.reading(1, "activation-in-progress", **dates(date, date, activation_status="Activate RDY"))
    watched.later(hours=2)
    assert found(watched, "foc") == {f"{order_id(1)}/activation": "high"}


# -- overdue ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "working", "severity"),
    [
        ("in-process", timedelta(days=2), "low"),
        ("submitted", timedelta(days=9), "low"),  # seven working days and a weekend
        ("cancel-pending", timedelta(days=2), "high"),
        ("activation-in-progress", timedelta(hours=4), "high"),
    ],
)
def test_order_stays_too_long(watched: Watched, status: str, working: timedelta, severity: str) -> None:
    watched.later(hours=1)
    watched.status(1, status)
    watched.later(seconds=working.total_seconds() - 60)
    assert found(watched, "overdue") == {}
    watched.later(minutes=1)
    assert found(watched, "overdue") == {order_id(1): severity}
    watched.status(1, "ported")
    assert found(watched, "overdue") == {}


def test_limits_can_be_set_for_a_country_and_a_number_type(ledger: Ledger) -> None:
    limits = "submitted:1d, submitted@GB:5d, submitted@GB/toll_free:3d"
    watched = Watched(ledger, desk(overdue_after=limits), now=MONDAY)
    places = {1: ("US", "local"), 2: ("GB", "local"), 3: ("GB", "toll_free")}
    for order, (country, kind) in places.items():
        where = {"end_user": {"location": {"country_code": country}}, "phone_number_type": kind}
        watched.reading(order, "submitted", **where)
    for days, late in {1: {1}, 3: {1, 3}, 7: {1, 2, 3}}.items():
        watched.now = MONDAY + timedelta(days=days)
        assert set(found(watched, "overdue")) == {order_id(order) for order in late}


def test_messaging_may_take_five_working_days_after_the_port(watched: Watched) -> None:
    watched.later(hours=1)
    watched.messaging(1, "pending")
    watched.status(1, "ported")
    watched.later(days=6, hours=23)
    assert found(watched, "overdue") == {}
    watched.later(hours=1)
    assert found(watched, "overdue") == {order_id(1): "low"}


def test_what_nobody_touched_for_sixty_days_is_dormant(watched: Watched) -> None:
    watched.status(1, "cancel-pending")
    watched.later(days=61)
    watched.look()
    with watched.ledger.read() as connection:
        (row,) = open_findings(connection, watched.account, "overdue")
    assert (row["severity"], row["detail"]["dormant"]) == ("low", True)


# -- what raises nothing ---------------------------------------------------------------------------------------------


def test_drafts_and_ignored_orders_raise_nothing(ledger: Ledger) -> None:
    watched = Watched(ledger, desk(ignore_orders="branch-2,test-*"), now=MONDAY)
    watched.status(1, "draft")
    for order in (1, 2):
        watched.event("new_comment", order, None)
    watched.status(2, "exception", "OTHER")
    watched.later(days=20)
    watched.feed(covered_until=watched.now)
    watched.look()
    with ledger.read() as connection:
        assert open_findings(connection, watched.account) == []


def test_duplicate_webhook_of_a_known_event_opens_nothing(watched: Watched) -> None:
    """Only the Events API and the orders make findings; a delivery, however often, is evidence and no event."""
    event = watched.status(1, "submitted")
    row = {"account": watched.account, "source": "receiver", "event_id": event, "type": "porting_order.status_changed"}
    with watched.ledger.write() as connection:
        for number in range(3):
            stored = row | {"source_id": str(number), "ok": True, "stored_at": watched.now, "signed_at": watched.now}
            watched.ledger.upsert(connection, deliveries, [stored])
    assert watched.look().open == 0


def test_split_order_inherits_the_reference(watched: Watched) -> None:
    watched.status(1, "submitted")
    payload = {"from": {"id": order_id(1)}, "to": {"id": order_id(2)}, "porting_phone_numbers": [{"id": "n"}]}
    watched.event("split", 1, payload)
    raw = watched.raw_status(2, "exception", "OTHER")
    raw["payload"]["customer_reference"] = None
    watched.tell(raw)
    watched.look()
    from sqlalchemy import select

    from telnyx_porting.ledger.tables import orders

    with watched.ledger.read() as connection:
        query = select(orders.c.split_from, orders.c.customer_reference).where(orders.c.id == order_id(2))
        assert tuple(connection.execute(query).one()) == (order_id(1), "branch-1")
