"""The client, over real sockets, with every undocumented point of the wire in each of its positions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.client import Clock, TelnyxClient
from telnyx_porting.client import windows as windows_module
from telnyx_porting.errors import (
    AuthenticationError,
    IncompleteListing,
    InvalidRequestError,
    NotFoundError,
    RequestTimeout,
    ServerError,
    TelnyxError,
)
from telnyx_porting.models.events import UnknownPortingEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.sandbox.testing import RunningSandbox
    from tests.support.webhook_receiver import Receiver

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MISSING = "00000000-0000-4000-8000-000000000000"


class QuickClock(Clock):
    """Real time, but nobody waits for longer than a moment."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


@pytest.fixture
def client(sandbox: RunningSandbox) -> Iterator[TelnyxClient]:
    with TelnyxClient(sandbox.api_key, sandbox.base_url, timeout=5, clock=QuickClock()) as ours:
        yield ours


def insert(sandbox: RunningSandbox, *moments: datetime) -> list[str]:
    return [row["id"] for row in sandbox.insert(*({"created_at": moment.isoformat()} for moment in moments))]


def crowd() -> list[datetime]:
    """Ties, neighbours within a second, and rows far apart."""
    close = [NOON + timedelta(milliseconds=180 * n) for n in range(20)]
    return [*close, NOON, NOON, *(NOON + timedelta(hours=n) for n in range(1, 30))]


POSITIONS = [
    {"event_order": "-created_at"},
    {"event_order": "created_at"},
    {"tie_order": "unstable"},
    {"created_at_bounds": "exclusive"},
    {"created_at_bounds": "truncated"},
    {"list_meta": "no_totals"},
    {"list_meta": "absent"},
    {"page_past_end": "refused"},
    {"totals_cap": 13},
    {"event_order": "-created_at", "created_at_bounds": "truncated", "page_past_end": "refused", "totals_cap": 13},
    {"rate_limit_headers": "absent"},
    {"rate_limit_reset": "epoch", "rate_limit_form": "structured"},
    {"clock_skew_seconds": -90},
    {"clock_skew_seconds": 3600},
]


@pytest.mark.parametrize("positions", POSITIONS, ids=lambda p: ",".join(f"{k}={v}" for k, v in p.items()))
@pytest.mark.parametrize("page_size", [4, 250])
@pytest.mark.parametrize("rows_per_window", [8, 4_000])
def test_the_list_is_whole(
    sandbox: RunningSandbox,
    client: TelnyxClient,
    monkeypatch: pytest.MonkeyPatch,
    positions: dict[str, Any],
    page_size: int,
    rows_per_window: int,
) -> None:
    monkeypatch.setattr(windows_module, "ROWS_PER_WINDOW", rows_per_window)
    made = insert(sandbox, *crowd())
    sandbox.switches(**positions)
    sandbox.rate_limit(1000)
    try:
        got = [row.id for row in client.iter_porting_events(NOON, NOON + timedelta(days=3), page_size=page_size)]
    except IncompleteListing:
        # Ties over several pages in an order of its own each time: nobody could read that.
        assert positions.get("tie_order") == "unstable"
        return
    assert sorted(got) == sorted(made)


@pytest.mark.parametrize("growth", ["on", "behind"])
def test_a_list_that_grows_at_every_look_is_whole_or_an_error(
    sandbox: RunningSandbox, client: TelnyxClient, growth: str
) -> None:
    made = insert(sandbox, *crowd())
    sandbox.switches(list_growth=growth)
    try:
        got = {row.id for row in client.iter_porting_events(NOON, NOON + timedelta(days=3), page_size=4)}
    except IncompleteListing:
        assert growth == "behind"
    else:
        assert set(made) <= got


def test_both_places_of_a_deleted_events_time(sandbox: RunningSandbox, client: TelnyxClient) -> None:
    seen = []
    for place in ("top", "payload"):
        sandbox.switches(deleted_created_at=place, completion="at_once")
        (row,) = sandbox.act(sandbox.order(), "delete")
        event = client.get_porting_event(row["id"])
        assert event.created_at is not None
        around = (event.created_at - timedelta(seconds=1), event.created_at)
        assert row["id"] in [e.id for e in client.iter_porting_events(*around)]
        seen.append(("created_at" in event.raw, event.natural_key is not None))
    assert seen == [(True, True), (False, True)]


def test_unknown_values_are_kept(sandbox: RunningSandbox, client: TelnyxClient) -> None:
    sandbox.switches(unknown_values="some")
    order = sandbox.order()
    sandbox.act(order, "status", value="exception", codes=["OTHER"], force=True)
    codes = {code for code, _ in client.get_porting_order(order).status_details}
    sandbox.act(order, "status", value="ported", force=True)
    rows = list(client.iter_porting_events())
    assert any(type(row) is UnknownPortingEvent for row in rows)
    assert "LOA_ILLEGIBLE" in codes


@pytest.mark.parametrize("errors", ["integers", "objects"])
@pytest.mark.parametrize("shape", ["published", "drifted"])
@pytest.mark.parametrize("order", ["-started_at", "started_at"])
def test_deliveries_in_each_shape(
    sandbox: RunningSandbox, client: TelnyxClient, receiver: Receiver, errors: str, shape: str, order: str
) -> None:
    sandbox.switches(delivery_errors=errors, delivery_shape=shape, delivery_order=order, completion="at_once")
    sandbox.subscribe(sandbox.sink_url(503))
    row = sandbox.act(sandbox.order(), "comment", body="Hello")[0]
    sandbox.settle()
    (record,) = client.iter_webhook_deliveries()
    assert record.status == "failed"
    assert record.attempts[0].http_status == 503
    assert record.attempts[0].error_codes
    assert {attempt.url for attempt in record.attempts} == {sandbox.sink_url(503)}
    assert record.webhook.natural_key == client.get_porting_event(row["id"]).natural_key
    assert client.get_webhook_delivery(record.id) == record


@pytest.mark.parametrize("body", ["json", "empty", "text"])
def test_errors_with_any_body(sandbox: RunningSandbox, client: TelnyxClient, body: str) -> None:
    sandbox.switches(error_body=body)
    with pytest.raises(NotFoundError) as caught:
        client.get_porting_event(MISSING)
    assert caught.value.code == ("10005" if body == "json" else None)
    with pytest.raises(AuthenticationError):
        TelnyxClient("WRONG", sandbox.base_url).count_porting_events()
    sandbox.fault("status", status=422, times=1)
    with pytest.raises(InvalidRequestError):
        client.count_porting_events()
    sandbox.fault("status", status=503, method="POST")
    with pytest.raises(ServerError) as failed:
        client.republish_porting_event(MISSING)
    assert not failed.value.not_processed


@pytest.mark.parametrize("kind", ["reset", "truncated_json", "truncated_body", "empty_body", "html", "status"])
def test_trouble_on_the_way_is_got_over(sandbox: RunningSandbox, client: TelnyxClient, kind: str) -> None:
    made = insert(sandbox, *crowd())
    sandbox.fault(kind, times=3)
    assert sorted(row.id for row in client.iter_porting_events(page_size=10)) == sorted(made)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["reset", "timeout"])
def test_a_republish_without_an_answer_is_sent_once(
    sandbox: RunningSandbox, receiver: Receiver, kind: str, when: str
) -> None:
    sandbox.switches(completion="at_once")
    sandbox.subscribe(receiver.url)
    row = sandbox.act(sandbox.order(), "comment", body="Hello")[0]
    sandbox.settle()
    sandbox.fault(kind, method="POST", when=when, seconds=1.0)
    client = TelnyxClient(sandbox.api_key, sandbox.base_url, timeout=0.3)
    with pytest.raises(TelnyxError) as caught:
        client.republish_porting_event(row["id"])
    assert not caught.value.not_processed
    assert isinstance(caught.value, RequestTimeout) or kind == "reset"
    sandbox.clear_faults()
    sandbox.settle()
    assert len(receiver.received) == (2 if when == "after" else 1)


@pytest.mark.parametrize("reset", ["seconds", "epoch"])
@pytest.mark.parametrize("form", ["plain", "structured"])
@pytest.mark.parametrize("retry_after", ["absent", "present"])
def test_a_limit_is_kept_to_in_each_of_its_forms(
    sandbox: RunningSandbox, client: TelnyxClient, reset: str, form: str, retry_after: str
) -> None:
    sandbox.switches(rate_limit_reset=reset, rate_limit_form=form, retry_after=retry_after)
    made = insert(sandbox, *crowd())
    sandbox.rate_limit(20)
    assert sorted(row.id for row in client.iter_porting_events(page_size=4)) == sorted(made)
    assert client.rate_limit is not None
    assert client.rate_limit.limit == 20
