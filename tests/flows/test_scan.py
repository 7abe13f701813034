"""The scan over real sockets, on both databases: complete, or open with a reason."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from telnyx_porting.client import TelnyxClient
from telnyx_porting.client.clock import SYSTEM_CLOCK
from telnyx_porting.errors import LedgerError, TelnyxError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.ledger.tables import accounts, events, feeds, windows
from tests.support.provider import ACCOUNT, CLOCK, DAY, HOUR, MINUTE, Provider

SECOND = timedelta(seconds=1)


def test_an_empty_account_is_normal(provider: Provider) -> None:
    first, second = provider.scan(), provider.scan()
    assert (first.new, first.first_contact, first.changed) == (0, True, 0)
    assert (second.new, second.first_contact) == (0, False)
    assert second.sealed_until == provider.now - provider.settings.settle
    assert provider.open_windows() == []


def test_the_first_look_reaches_back_so_many_days_and_no_further(provider: Provider) -> None:
    young, old = provider.event(DAY), provider.event(3 * DAY)
    result = provider.scan()
    assert provider.held().keys() == set(young)
    assert result.since > provider.now - 3 * DAY
    assert old[0] not in provider.held()
    assert provider.watched_since() == provider.now


def test_each_scan_reads_from_the_watermark_and_a_bit_before(provider: Provider) -> None:
    provider.scan()
    sealed = provider.feed()["covered_until"]
    ids = provider.event(-2 * MINUTE, -90 * SECOND)
    result = provider.scan()
    assert result.since == sealed - provider.settings.overlap
    assert (result.new, result.late, set(provider.held())) == (2, 0, set(ids))
    again = provider.scan()
    assert (again.new, again.changed) == (0, 0)


def test_late_rows_within_the_overlap_are_found_counted_and_widen_it_and_it_shrinks_again(provider: Provider) -> None:
    provider.scan()
    provider.scan()
    late = provider.event(45 * MINUTE)
    result = provider.scan()
    assert result.late == 1
    assert late[0] in provider.held()
    wide = provider.scan()
    assert wide.until - wide.since > 80 * MINUTE
    # What comes later still is now found too.
    later = provider.event(75 * MINUTE)
    assert provider.scan().late == 1
    assert later[0] in provider.held()
    provider.scan(after=3 * DAY)
    narrow = provider.scan()
    assert narrow.until - narrow.since < 66 * MINUTE


def test_the_overlap_never_grows_beyond_seven_days(provider: Provider) -> None:
    provider.scan(first_look_days=9)
    with provider.ledger.write() as connection:
        connection.execute(update(feeds).values(lateness=30 * 86400))
    result = provider.scan()
    assert result.until - result.since <= 7 * DAY + 10 * MINUTE


@pytest.mark.parametrize(
    "switches",
    [
        {"created_at_bounds": "exclusive", "tie_order": "unstable"},
        {"created_at_bounds": "truncated", "event_order": "-created_at"},
        {"totals_cap": 100},
        {"list_meta": "no_totals"},
        {"page_past_end": "refused", "tie_order": "unstable"},
        {"list_growth": "on"},
        {"list_growth": "behind"},
    ],
    ids=str,
)
def test_nothing_is_lost_whatever_the_list_is_like(provider: Provider, switches: dict[str, Any]) -> None:
    provider.sandbox.clock(now=provider.now.isoformat(), frozen=True)
    ages = [n * MINUTE for n in range(2, 302)] + [DAY] * 20
    ids = provider.event(*ages)
    provider.sandbox.switches(**switches)
    try:
        assert provider.scan(after=timedelta(0)).sealed_until is not None
        assert set(ids) <= provider.held().keys()
    except TelnyxError:
        # Only a list that never holds still while it is read may not be proved.
        assert switches == {"list_growth": "behind"}
        assert "in several readings" in provider.open_windows()[0]
    provider.sandbox.control("DELETE", "/switches")
    provider.scan(overlap=2 * DAY)
    assert provider.held() == provider.truth()


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "rate_limited", "times": 1, "seconds": 1},
        {"kind": "status", "status": 503, "times": 2},
        {"kind": "reset", "times": 2},
        {"kind": "truncated_json", "times": 2},
        {"kind": "truncated_body", "times": 2},
        {"kind": "empty_body", "times": 1},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_provider_in_trouble_costs_time_but_no_event(provider: Provider, fault: dict[str, Any]) -> None:
    ids = provider.event(*[n * MINUTE for n in range(2, 12)])
    if fault["kind"] == "rate_limited":
        provider.clock = SYSTEM_CLOCK
    provider.sandbox.fault(path="/v2/porting/events", **fault)
    if fault["kind"] in ("truncated_json", "empty_body"):  # an answer that came whole, and is no JSON
        try:
            provider.scan()
        except TelnyxError:
            assert "the body is" in provider.open_windows()[0]
        provider.sandbox.clear_faults()
    provider.scan()
    assert provider.held().keys() == set(ids)
    assert provider.open_windows() == []


def test_a_provider_that_stays_down_leaves_the_window_open_with_a_reason_and_the_next_scan_closes_it(
    provider: Provider,
) -> None:
    provider.scan()
    sealed = provider.feed()["covered_until"]
    ids = provider.event(2 * MINUTE)
    provider.sandbox.fault("status", status=500)
    with pytest.raises(TelnyxError, match="500"):
        provider.scan()
    assert provider.feed()["covered_until"] == sealed
    assert "500" in provider.open_windows()[0]
    assert "500" in provider.feed()["error"]
    provider.sandbox.clear_faults()
    provider.scan()
    assert provider.held().keys() == set(ids)
    assert provider.open_windows() == []
    assert provider.feed()["error"] is None


@pytest.mark.parametrize("age", [30 * MINUTE, 5 * HOUR], ids=["in the overlap", "behind it"])
def test_a_payload_that_is_generated_later_is_read(provider: Provider, age: timedelta) -> None:
    ids = provider.event(age, completed=False, type="porting_order.status_changed")
    provider.scan()
    assert provider.held()[ids[0]][1] is False
    provider.sandbox.complete(ids[0])
    result = provider.scan()
    assert result.changed == 1
    with provider.ledger.read() as connection:
        row = connection.execute(select(events)).one()
    assert (row.payload_status, row.completed_seen_at) == ("completed", provider.now)
    assert row.payload
    assert row.natural_key.startswith("status_changed:")


def test_many_unfinished_events_are_read_again_by_window_not_one_by_one(provider: Provider) -> None:
    ids = provider.event(*[5 * HOUR + n * SECOND for n in range(40)], completed=False)
    provider.scan()
    result = provider.scan()
    assert result.requests < 10
    for event_id in ids:
        provider.sandbox.complete(event_id)
    assert provider.scan().changed == 40


def test_a_window_is_not_sealed_where_the_providers_clock_calls_it_too_young(provider: Provider) -> None:
    provider.sandbox.switches(clock_skew_seconds=-(10 * 86400 + 1800))
    result = provider.scan()
    assert result.sealed_until is not None
    assert result.sealed_until < provider.now - 20 * MINUTE


def test_a_clock_set_back_reads_on_and_never_moves_the_watermark_back(provider: Provider) -> None:
    provider.scan()
    sealed = provider.feed()["covered_until"]
    provider.scan(after=-3 * HOUR)
    assert provider.feed()["covered_until"] == sealed
    ids = provider.event(-2 * HOUR - 50 * MINUTE)
    provider.scan(after=3 * HOUR + 5 * MINUTE)
    assert set(ids) <= provider.held().keys()


def test_two_scanners_at_once_lose_and_double_nothing(provider: Provider) -> None:
    ids = provider.event(*[n * MINUTE for n in range(2, 602)])
    problems: list[BaseException] = []

    def run() -> None:
        try:
            with TelnyxClient(provider.sandbox.api_key, provider.sandbox.base_url, clock=CLOCK) as client:
                scan(Account(provider.ledger, ACCOUNT, provider.settings, lambda: provider.now), client)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert provider.held().keys() == set(ids)
    provider.check_seals()
    provider.scan()
    assert provider.open_windows() == []


class Frozen(TelnyxClient):
    """A client whose reading stops before the last window until it is let go."""

    before_last: Any = None

    def iter_proved_windows(self, *args: Any, **kwargs: Any) -> Any:
        for window in super().iter_proved_windows(*args, **kwargs):
            if self.before_last:
                self.before_last()
            yield window


def test_a_frozen_scanner_thawed_after_its_successor_regresses_nothing(provider: Provider) -> None:
    provider.event(HOUR)
    provider.scan()
    ids = provider.event(2 * MINUTE)
    provider.now += 5 * MINUTE
    after: dict[str, Any] = {}

    def successor() -> None:
        frozen.before_last = None
        provider.scan(after=10 * MINUTE)
        after.update(provider.feed())
        provider.sandbox.complete(waiting[0])
        provider.scan(after=MINUTE)
        after.update(provider.feed())

    waiting = provider.event(3 * MINUTE, completed=False)
    with Frozen(provider.sandbox.api_key, provider.sandbox.base_url, clock=CLOCK) as frozen:
        frozen.before_last = successor
        result = scan(Account(provider.ledger, ACCOUNT, provider.settings, lambda: provider.now - 11 * MINUTE), frozen)
    assert result.sealed_until is None
    now = provider.feed()
    assert {k: now[k] for k in ("covered_until", "token", "error", "lateness")} == {
        k: after[k] for k in ("covered_until", "token", "error", "lateness")
    }
    held = provider.held()
    assert held[waiting[0]][1], "completed went back to created"
    assert set(ids) <= held.keys()


def test_another_provider_or_account_behind_the_connection_is_refused(provider: Provider) -> None:
    provider.event(HOUR)
    provider.scan()
    other = provider.sandbox.base_url.replace("127.0.0.1", "localhost")
    with TelnyxClient(provider.sandbox.api_key, other) as client, pytest.raises(LedgerError, match="first seen at"):
        scan(Account(provider.ledger, ACCOUNT, provider.settings, lambda: provider.now), client)
    with provider.ledger.write() as connection:
        connection.execute(update(accounts).values(user_id="somebody else", key_fingerprint="another"))
    with pytest.raises(LedgerError, match="belongs to Telnyx user somebody else"):
        provider.scan()


def test_a_poll_writes_no_row_again_that_did_not_move(provider: Provider) -> None:
    provider.event(*[n * MINUTE for n in range(2, 30)])
    provider.scan()
    with provider.ledger.write() as connection:
        connection.execute(update(events).values(first_seen_at=provider.now - DAY))
    result = provider.scan()
    assert (result.held > 20, result.changed) == (True, 0)


def test_a_scan_killed_before_it_ended_is_forgotten_once_its_window_is_proved(provider: Provider) -> None:
    provider.scan()
    row = {"account": ACCOUNT, "id": "dead", "made_by": "scan", "open_reason": "not finished"}
    row |= {"since": provider.now - HOUR, "until": provider.now - MINUTE, "started_at": provider.now}
    with provider.ledger.write() as connection:
        connection.execute(windows.insert().values(**row))
    assert provider.open_windows() == ["not finished"]
    provider.scan()
    assert provider.open_windows() == []


def test_the_first_look_of_a_long_history_is_short(provider: Provider) -> None:
    """100,000 events in three years: at two requests a second, useful long before ten minutes are over."""
    provider.sandbox.reset("volume", events=100_000)
    provider.now = provider.now + 10 * DAY
    result = provider.scan(after=timedelta(0), first_look_days=14)
    assert result.new > 1_000
    assert result.requests / provider.settings.requests_per_second < 60
