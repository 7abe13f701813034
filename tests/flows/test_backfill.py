"""Reading history: resumable, read-only, and joined to what the scan covers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from telnyx_porting.errors import FormError, LedgerError, TelnyxError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.status import status
from telnyx_porting.flows.events.backfill import BackfillResult, backfill
from telnyx_porting.ledger.tables import windows
from tests.support.provider import ACCOUNT, DAY, HOUR, MINUTE, Provider


def fill(provider: Provider, since: timedelta, until: timedelta = timedelta(0)) -> BackfillResult:
    with provider.client() as client:
        now = provider.now
        return backfill(
            Account(provider.ledger, ACCOUNT, provider.settings, lambda: now), client, now - since, now - until
        )


def test_history_is_read_once_and_joins_the_scans_coverage(provider: Provider) -> None:
    provider.event(*[n * HOUR for n in range(1, 24 * 9)])
    provider.scan()
    first = fill(provider, 9 * DAY)
    assert (first.new > 100, first.left) == (True, 0)
    assert provider.held() == provider.truth()
    assert provider.feed()["covers_from"] == provider.now - 9 * DAY
    again = fill(provider, 9 * DAY)
    assert (again.read, again.requests) == (0, 0)
    provider.check_seals()


def test_it_only_reads(provider: Provider) -> None:
    provider.event(5 * DAY)
    provider.scan()
    fill(provider, 6 * DAY)
    assert {entry["method"] for entry in provider.sandbox.requests()["recent"]} == {"GET"}


def test_a_part_that_does_not_touch_the_coverage_waits_for_the_gap(provider: Provider) -> None:
    provider.event(*[n * HOUR for n in range(1, 200)])
    provider.scan()
    covers = provider.feed()["covers_from"]
    fill(provider, 8 * DAY, 6 * DAY)
    assert provider.feed()["covers_from"] == covers
    fill(provider, 6 * DAY, 2 * DAY)
    assert provider.feed()["covers_from"] == provider.now - 8 * DAY
    provider.check_seals()


def test_an_interrupted_backfill_says_so_and_goes_on_where_it_stopped(provider: Provider) -> None:
    provider.sandbox.reset("volume", events=60_000)
    provider.now += 10 * DAY
    provider.scan(after=timedelta(0))
    provider.sandbox.fault("status", status=500, skip=60, path="/v2/porting/events")
    with pytest.raises(TelnyxError, match="500"):
        fill(provider, 365 * DAY)
    held = len(provider.held())
    assert held > 3_000
    assert "500" in provider.open_windows()[0]
    assert "open backfill window" in status(provider.ledger, provider.now)
    provider.sandbox.clear_faults()
    rest = fill(provider, 365 * DAY)
    assert rest.read < 20_000 - 3_000
    with provider.client() as client:
        expected = client.count_porting_events(provider.now - 365 * DAY, provider.now)
    assert abs(len(provider.held()) - expected) <= 2
    assert provider.open_windows() == []
    with provider.ledger.read() as connection:
        made = connection.execute(select(windows).where(windows.c.made_by == "backfill")).all()
    assert len(made) == 2, "one row for each run, however many parts it had"


def test_bad_input_is_refused_in_one_sentence(provider: Provider) -> None:
    with pytest.raises(LedgerError, match=r"has not been scanned into this ledger; scanned accounts: none yet"):
        fill(provider, DAY)
    provider.scan()
    with pytest.raises(FormError, match=r"from = '.*it must be earlier than to, "):
        fill(provider, DAY, 2 * DAY)
    with pytest.raises(FormError, match=r"from = '.*a time that is over"):
        fill(provider, -DAY, -2 * DAY)
    now = provider.now
    with provider.client() as client:
        naive = (now - DAY).replace(tzinfo=None)
        with pytest.raises(FormError, match="it has no time zone"):
            backfill(Account(provider.ledger, ACCOUNT, provider.settings, lambda: now), client, naive, now)
        with pytest.raises(LedgerError, match=r"'nobody' has not been scanned .*: telnyx_default"):
            backfill(Account(provider.ledger, "nobody", provider.settings, lambda: now), client, now - DAY, now)


def test_the_future_is_cut_off(provider: Provider) -> None:
    provider.scan()
    result = fill(provider, 3 * DAY, -DAY)
    assert result.until == provider.now - MINUTE
