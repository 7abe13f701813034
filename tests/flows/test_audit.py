"""Proofs with few requests, and what they find."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.status import status
from telnyx_porting.flows.events.audit import AuditResult, audit
from telnyx_porting.flows.events.nights import audit_again, audit_tonight, why_unproved
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.ledger.tables import events, windows
from tests.support.provider import ACCOUNT, DAY, HOUR, MINUTE, Provider


def run(provider: Provider, **given: Any) -> AuditResult:
    with provider.client() as client:
        return audit(Account(provider.ledger, ACCOUNT, provider.settings, lambda: provider.now), client, **given)


def tonight(provider: Provider) -> AuditResult | None:
    provider.now += DAY
    with provider.client() as client:
        return audit_tonight(Account(provider.ledger, ACCOUNT, provider.settings, lambda: provider.now), client)


def touch(provider: Provider, **columns: Any) -> None:
    with provider.ledger.write() as connection:
        touch_feed(provider.ledger, connection, ACCOUNT, "events", **columns)


def lose(provider: Provider, ids: list[str]) -> None:
    """Forget events, as a defect would."""
    with provider.ledger.write() as connection:
        connection.execute(delete(events).where(events.c.id.in_(ids)))


def history(provider: Provider, count: int, every: timedelta = 3 * MINUTE) -> list[str]:
    ids = provider.event(*[HOUR + n * every for n in range(count)])
    provider.scan(first_look_days=9)
    assert len(provider.held()) == count
    return ids


def test_complete_history_is_proved_by_two_requests(provider: Provider) -> None:
    history(provider, 1_700)
    result = run(provider)
    assert (result.requests, result.found, result.open_reason) == (2, 0, None)
    assert result.held >= 1_699
    assert "as long as Telnyx removes nothing" in result.certificate
    assert f"certificate by count: {result.held} events" in status(provider.ledger, provider.now)


@pytest.mark.parametrize("holes", [1, 5, 20])
def test_holes_are_found_and_filled_with_few_requests(provider: Provider, holes: int) -> None:
    ids = history(provider, 3_010)
    lose(provider, random.Random(holes).sample(ids[5:-5], holes))
    result = run(provider)
    assert (result.found, result.open_reason) == (holes, None)
    assert provider.held() == provider.truth()
    assert result.requests <= 2 * holes * math.log2(3_010 / holes) + 4 * holes + 4
    assert run(provider).requests == 2


@pytest.mark.parametrize("bounds", ["inclusive", "exclusive", "truncated"])
def test_bounds_of_any_kind_neither_hide_nor_invent_a_hole(provider: Provider, bounds: str) -> None:
    ids = history(provider, 900, timedelta(seconds=7))
    provider.sandbox.switches(created_at_bounds=bounds)
    assert run(provider).requests == 2
    lose(provider, ids[450:453])
    assert run(provider).found == 3


def test_a_round_total_may_be_a_cap_and_is_not_believed(provider: Provider) -> None:
    ids = history(provider, 2_100)
    provider.sandbox.switches(totals_cap=2_000)
    lose(provider, ids[1_000:1_100])
    assert run(provider).found == 100
    assert provider.held().keys() == set(ids)


def test_many_events_of_one_moment_end_in_a_proof_or_a_reason_never_in_a_loop(provider: Provider) -> None:
    ids = provider.event(*[DAY] * 400)
    provider.scan()
    lose(provider, ids[7:9])
    result = run(provider)
    assert result.found == 2 or result.open_reason
    assert result.requests < 20


def test_retention_moves_the_horizon_and_deletes_nothing(provider: Provider) -> None:
    ids = history(provider, 1_000, 10 * MINUTE)
    provider.sandbox.switches(event_retention_days=10 + 3)
    result = run(provider)
    assert result.horizon is not None
    assert result.gone > 400
    assert result.requests <= 2 * math.log2(1_000) + 6
    assert provider.held().keys() == set(ids)
    assert "no longer has what is older" in status(provider.ledger, provider.now)
    again = run(provider)
    assert (again.horizon, again.open_reason) == (None, None)


def test_an_event_that_vanished_from_the_middle_is_kept_marked_and_said_once(provider: Provider) -> None:
    ids = history(provider, 600)
    for event_id in ids[300:303]:
        provider.sandbox.remove(event_id)
    result = run(provider)
    assert (result.gone, result.open_reason, result.horizon) == (3, None, None)
    assert set(ids) == provider.held().keys()
    again = run(provider)
    assert (again.gone, again.method, again.open_reason) == (0, "ids", None)


def test_an_account_that_suddenly_has_nothing_is_not_taken_for_retention(provider: Provider) -> None:
    history(provider, 300)
    provider.sandbox.switches(event_retention_days=0.001)
    result = run(provider)
    assert "no retention" in (result.open_reason or "")
    assert result.horizon is None
    assert "no retention" in provider.open_windows()[0]


def test_without_counts_it_says_so(provider: Provider) -> None:
    history(provider, 300)
    provider.sandbox.switches(list_meta="no_totals")
    assert "total_results" in (run(provider).open_reason or "")
    assert run(provider, by_ids=True).open_reason is None


def test_errors_that_cancel_out_are_found_within_the_promised_nights(provider: Provider) -> None:
    ids = history(provider, 1_500)
    provider.settings = provider.settings.model_copy(update={"audit_nights": 5})
    lose(provider, [ids[700]])
    provider.sandbox.remove(ids[720])
    nights = 0
    while ids[700] not in provider.held():
        nights += 1
        assert nights <= 5, "not found within the promised nights"
        tonight(provider)
    with provider.ledger.read() as connection:
        gone = connection.execute(select(events.c.id).where(events.c.gone_at.is_not(None))).scalars().all()
    assert gone == [ids[720]]


def test_the_nightly_part_goes_through_all_of_history(provider: Provider) -> None:
    history(provider, 1_500)
    provider.settings = provider.settings.model_copy(update={"audit_nights": 4})
    for _ in range(4):
        assert tonight(provider) is not None
    with provider.ledger.read() as connection:
        rows = connection.execute(select(windows).where(windows.c.method == "ids").order_by(windows.c.since)).all()
    assert sum(row.held for row in rows) >= 1_500
    assert all(row.sealed_at and row.held == row.counted for row in rows)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    ages=st.lists(st.integers(0, 86_400 * 40), min_size=1, max_size=60),
    lost=st.sets(st.integers(0, 59), max_size=12),
    bounds=st.sampled_from(["inclusive", "exclusive", "truncated"]),
)
def test_whatever_is_lost_inside_what_is_proved_is_found(
    provider: Provider, ages: list[int], lost: set[int], bounds: str
) -> None:
    with provider.ledger.write() as connection:
        connection.execute(delete(events))
        connection.execute(delete(windows))
    provider = Provider(provider.sandbox, provider.ledger)
    ids = provider.event(*[HOUR + timedelta(seconds=age / 10) for age in ages])
    provider.scan()
    provider.sandbox.switches(created_at_bounds=bounds)
    lose(provider, [ids[n] for n in lost if n < len(ids)])
    result = run(provider)
    assert result.open_reason is None
    truth, held = provider.truth(), provider.held()
    assert [i for i, (at, _) in truth.items() if result.since <= at <= result.until and i not in held] == []


def _odd(provider: Provider, event_id: str) -> None:
    """Let Telnyx list something else in the row's place."""
    provider.sandbox.fault("odd_row", row_id=event_id, path="/v2/porting/events*", instead="no object")


def _night(provider: Provider) -> None:
    account = Account(provider.ledger, ACCOUNT, provider.settings, lambda: provider.now)
    tonight(provider)
    with provider.client() as client:
        audit_again(account, client)


def test_a_part_that_cannot_be_compared_is_gone_round_and_tried_again(provider: Provider) -> None:
    ids = history(provider, 1_500)[::-1]  # oldest first
    provider.settings = provider.settings.model_copy(update={"audit_nights": 5})
    account = Account(provider.ledger, ACCOUNT, provider.settings, lambda: provider.now)
    _odd(provider, ids[100])
    lose(provider, [ids[n] for n in (500, 900, 1_400)])
    for _ in range(5):
        _night(provider)
    assert provider.held().keys() == set(ids), "what lies behind was never compared"
    assert "could not be compared" in (why_unproved(account) or "")
    provider.sandbox.clear_faults()
    lose(provider, [ids[101]])
    _night(provider)
    assert (why_unproved(account), provider.held().keys()) == (None, set(ids))


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 999), nights=st.integers(2, 4), first_by_horizon=st.booleans())
def test_once_rows_were_removed_a_removal_hides_no_shortfall(
    provider: Provider, seed: int, nights: int, first_by_horizon: bool
) -> None:
    """Retention goes on while the ledger lacks as many rows: counts agree, and the certificate must not."""
    with provider.ledger.write() as connection:
        for table in (events, windows):
            connection.execute(delete(table))
    provider = Provider(provider.sandbox, provider.ledger)
    touch(provider, horizon=None, covered_until=None, covers_from=None)
    ids = history(provider, 400)[::-1]
    chance = random.Random(seed)
    provider.sandbox.remove(ids[0] if first_by_horizon else ids[200])
    run(provider)
    for _ in range(nights):
        there = sorted(provider.truth(), key=ids.index)
        number = chance.randrange(1, 4)
        for event_id in chance.sample(there[10:-10], number):
            provider.sandbox.remove(event_id)
        left = sorted(provider.truth(), key=ids.index)
        lose(provider, chance.sample(left[10:-10], number))
        result = run(provider)
        truth, held = provider.truth(), provider.held()
        inside = [event_id for event_id, (at, _) in truth.items() if result.since <= at <= result.until]
        assert result.open_reason or set(inside) <= held.keys(), "certified, and not complete"
        assert (result.method, result.open_reason) == ("ids", None)
        assert result.gone == number
