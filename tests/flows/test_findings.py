"""Findings: what is true, in turns, and nothing twice."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.findings.health import clear, health
from telnyx_porting.flows.findings.reconcile import open_findings
from telnyx_porting.ledger.tables import findings
from tests.support.watched import ACCOUNT, START, Watched, order_id, quick, write_time

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger


@pytest.fixture
def watched(ledger: Ledger) -> Watched:
    return Watched(ledger)


def keys(watched: Watched, kind: str | None = None) -> dict[str, str]:
    with watched.ledger.read() as connection:
        return {row["key"]: row["severity"] for row in open_findings(connection, ACCOUNT, kind)}


def test_event_without_payload_becomes_stuck_then_severe_then_over(watched: Watched) -> None:
    stuck = watched.event("status_changed", 1, None)
    watched.later(minutes=29)
    watched.look()
    assert keys(watched) == {}
    watched.later(minutes=1)
    watched.look()
    assert keys(watched) == {f"stuck:{stuck}": "low"}
    watched.later(hours=4)
    watched.look()
    assert keys(watched) == {f"stuck:{stuck}": "high"}
    watched.status(1, "submitted", id=stuck)
    watched.look()
    assert keys(watched) == {}


@pytest.mark.parametrize(
    ("kind", "methods"),
    [("loa_updated", ["email"]), ("sharing_token_expired", ["email"]), ("brand_new", ["email"]), ("loa_updated", [])],
)
def test_event_that_cannot_have_a_webhook_is_never_stuck(watched: Watched, kind: str, methods: list[str]) -> None:
    watched.event(kind, 1, None, available_notification_methods=methods)
    watched.later(days=2)
    watched.look()
    assert keys(watched) == {}


def test_unknown_type_with_a_webhook_method_can_be_stuck(watched: Watched) -> None:
    stuck = watched.event("brand_new", 1, None, available_notification_methods=["webhook_v1"])
    watched.later(hours=1)
    watched.look()
    assert keys(watched) == {f"stuck:{stuck}": "low"}


def test_exception_of_voice_is_severe_and_of_messaging_is_not(watched: Watched) -> None:
    watched.status(1, "exception", "POSTAL_CODE_MISMATCH")
    watched.messaging(2, "exception")
    watched.look()
    assert keys(watched) == {f"exception:{order_id(1)}": "high", f"exception:{order_id(2)}/messaging": "low"}
    watched.later(minutes=1)
    watched.status(1, "submitted")
    watched.messaging(2, "ported")
    watched.look()
    assert keys(watched) == {}


def test_exception_after_a_confirmed_date_is_critical(watched: Watched) -> None:
    watched.status(1, "foc-date-confirmed")
    watched.later(minutes=1)
    watched.status(1, "exception", "FOC_EXPIRED")
    watched.look()
    assert keys(watched) == {f"exception:{order_id(1)}": "critical"}


def test_only_an_older_time_is_ignored_not_a_lower_status(watched: Watched) -> None:
    """Statuses have no rank: exception after ported is an exception; a late row about yesterday is not."""
    watched.status(1, "ported")
    watched.status(2, "ported")
    watched.later(minutes=1)
    watched.status(1, "exception", "OTHER")
    watched.status(2, "exception", "OTHER", at=watched.now - timedelta(days=1))
    watched.look()
    assert keys(watched) == {f"exception:{order_id(1)}": "high"}


def test_exception_hidden_in_a_stuck_event_is_seen_on_the_order(watched: Watched) -> None:
    watched.status(1, "submitted")
    watched.later(minutes=5)
    hidden = watched.event("status_changed", 1, None)
    watched.reading(1, "exception", "LOA_ILLEGIBLE")
    watched.look()
    with watched.ledger.read() as connection:
        (found,) = open_findings(connection, ACCOUNT)
    assert (found["key"], found["detail"]["seen_by"]) == (f"exception:{order_id(1)}", "order")
    # The event comes through later: the same exception.
    at = watched.now
    watched.later(minutes=20)
    watched.status(
        1, "exception", "LOA_ILLEGIBLE", at=at - timedelta(seconds=1), id=hidden, updated_at=write_time(watched.now)
    )
    result = watched.look()
    assert (result.opened, result.changed) == (0, 1), "the event brings the carrier's words"
    assert watched.look().changed == 0
    with watched.ledger.read() as connection:
        (found,) = open_findings(connection, ACCOUNT)
    assert (found["occurrence"], found["detail"]["seen_by"], found["detail"]["episode"]) == (1, "event", 1)


def test_exception_whose_first_event_is_stuck_is_one_exception_when_the_next_tells_of_it(watched: Watched) -> None:
    begun = watched.now
    watched.event("status_changed", 1, None)
    watched.reading(1, "exception", "LOA_ILLEGIBLE")
    watched.look()
    watched.later(minutes=30)
    watched.status(1, "exception", "LOA_ILLEGIBLE", "OTHER")
    for _ in range(2):
        watched.look()
        watched.later(minutes=1)
        watched.reading(1, "exception", "LOA_ILLEGIBLE", "OTHER")
    with watched.ledger.read() as connection:
        (found,) = open_findings(connection, ACCOUNT, "exception")
    assert (found["occurrence"], found["since"], found["detail"]["episode"]) == (1, begun, 1)
    assert (found["detail"]["seen_by"], len(found["detail"]["codes"])) == ("event", 2)


def test_new_codes_change_a_finding_and_a_new_episode_is_a_new_turn(watched: Watched) -> None:
    watched.status(1, "exception", "LSR_PENDING")
    assert watched.look().opened == 1
    watched.later(minutes=1)
    watched.status(1, "exception", "FOC_REJECTED")
    result = watched.look()
    assert (result.opened, result.changed) == (0, 1)
    watched.later(minutes=1)
    watched.status(1, "submitted")
    watched.later(minutes=1)
    watched.status(1, "exception", "FOC_REJECTED")
    assert watched.look().opened == 1
    with watched.ledger.read() as connection:
        (row,) = connection.execute(select(findings.c.occurrence, findings.c.detail)).all()
    assert (row.occurrence, row.detail["episode"]) == (2, 2)


def test_what_is_over_resolves_after_the_hold_time_and_not_on_stale_data(ledger: Ledger) -> None:
    watched = Watched(ledger, quick(resolve_hold=timedelta(minutes=10)))
    watched.status(1, "exception", "OTHER")
    watched.look()
    watched.status(1, "submitted", at=watched.now + timedelta(seconds=1))
    watched.later(minutes=1)
    assert watched.look().resolved == 0
    watched.later(minutes=5)
    assert watched.look().resolved == 0
    watched.later(minutes=5)
    assert watched.look().resolved == 1


def test_looking_again_changes_nothing(watched: Watched) -> None:
    watched.status(1, "exception", "OTHER")
    watched.event("split", 2, None)
    watched.later(hours=1)
    watched.look()
    for _ in range(3):
        result = watched.look()
        assert (result.opened, result.changed, result.resolved, result.open) == (0, 0, 0, 2)


def test_health_is_opened_by_who_notices_and_resolves_after_it_was_cleared(watched: Watched) -> None:
    health(Account(watched.ledger, ACCOUNT, clock=lambda: START), "key_refused", "Telnyx refuses the key", "critical")
    health(Account(watched.ledger, ACCOUNT, clock=lambda: START), "key_refused", "Telnyx refuses the key", "critical")
    watched.look()
    assert keys(watched) == {"health:key_refused": "critical"}
    clear(Account(watched.ledger, ACCOUNT, clock=lambda: START), "key_refused")
    watched.look()
    assert keys(watched) == {}
