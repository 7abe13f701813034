"""Our client and the official SDK return the same events from the same provider, under every filter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import telnyx

from telnyx_porting.client import TelnyxClient
from telnyx_porting.models.keys import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.sandbox.testing import RunningSandbox

pytestmark = pytest.mark.usefixtures("demo")


@pytest.fixture
def demo(sandbox: RunningSandbox) -> None:
    """Some three hundred events of every type, which stay as they are."""
    sandbox.reset("demo", seed=7)
    sandbox.clock(frozen=True)


@pytest.fixture
def sdk(sandbox: RunningSandbox) -> Iterator[telnyx.Telnyx]:
    with telnyx.Telnyx(api_key=sandbox.api_key, base_url=sandbox.base_url, max_retries=0) as client:
        yield client


@pytest.fixture
def ours(sandbox: RunningSandbox) -> Iterator[TelnyxClient]:
    with TelnyxClient(sandbox.api_key, sandbox.base_url) as client:
        yield client


def theirs(sdk: telnyx.Telnyx, **filters: Any) -> dict[str, dict[str, Any]]:
    """What the SDK lists, by id, as received."""
    pages = sdk.porting.events.list(page_size=100, filter=filters) if filters else sdk.porting.events.list()
    return {event.id: event.to_dict(mode="json") for event in pages}


def mine(client: TelnyxClient, **filters: Any) -> dict[str, dict[str, Any]]:
    rows = list(client.iter_porting_events(**filters))
    assert len({row.id for row in rows}) == len(rows)
    return {row.id: row.raw for row in rows}


def agree(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> None:
    assert one.keys() == other.keys()
    for event_id, raw in one.items():
        sdk_raw = other[event_id]
        for name in ("event_type", "porting_order_id", "payload_status", "available_notification_methods", "payload"):
            assert stripped(raw.get(name)) == stripped(sdk_raw.get(name)), (event_id, name)
        for name in ("created_at", "updated_at"):
            if raw.get(name):
                assert moment(raw[name]) == moment(sdk_raw[name])


def stripped(value: Any) -> Any:
    """Compare values, not how the SDK writes times and what it leaves out when null."""
    if isinstance(value, dict):
        return {name: stripped(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [stripped(inner) for inner in value]
    if isinstance(value, str) and len(value) > 18 and value[10:11] == "T":
        return moment(value)
    return value


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_without_a_filter(sdk: telnyx.Telnyx, ours: TelnyxClient) -> None:
    listed = theirs(sdk)
    assert len(listed) > 200
    agree(mine(ours), listed)


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_by_type(sdk: telnyx.Telnyx, ours: TelnyxClient, event_type: str) -> None:
    agree(mine(ours, event_type=event_type), theirs(sdk, type=event_type))


def test_by_order(sdk: telnyx.Telnyx, ours: TelnyxClient) -> None:
    orders = {row.porting_order_id for row in ours.iter_porting_events()}
    assert len(orders) > 10
    for order in sorted(filter(None, orders))[:10]:
        agree(mine(ours, porting_order_id=order), theirs(sdk, porting_order_id=order))


@pytest.mark.parametrize("bounds", ["inclusive", "exclusive"])
@pytest.mark.parametrize(("low", "high"), [(0.1, 0.5), (0.5, 0.5), (0.25, None), (None, 0.75), (0.0, 1.0)])
def test_by_time(
    sandbox: RunningSandbox,
    sdk: telnyx.Telnyx,
    ours: TelnyxClient,
    bounds: str,
    low: float | None,
    high: float | None,
) -> None:
    """Ours are inclusive, whatever the provider's are; the SDK is asked between events, where both mean the same."""
    sandbox.switches(created_at_bounds=bounds)
    times = sorted(row.created_at for row in ours.iter_porting_events() if row.created_at)
    ends = {
        name: times[int(share * (len(times) - 1))] + timedelta(microseconds=step)
        for name, share, step in (("gte", low, -1), ("lte", high, 1))
        if share is not None
    }
    listed = theirs(sdk, created_at={name: end.isoformat() for name, end in ends.items()})
    assert listed
    agree(mine(ours, **{f"created_at_{name}": end for name, end in ends.items()}), listed)
    exact = {
        f"created_at_{name}": end + timedelta(microseconds=1 if name == "gte" else -1) for name, end in ends.items()
    }
    agree(mine(ours, **exact), listed)


def test_by_all_at_once(sdk: telnyx.Telnyx, ours: TelnyxClient) -> None:
    rows = [row for row in ours.iter_porting_events(event_type="porting_order.status_changed") if row.created_at]
    row = rows[len(rows) // 2]
    assert row.created_at is not None
    since = row.created_at - timedelta(days=3)
    listed = theirs(
        sdk,
        type="porting_order.status_changed",
        porting_order_id=row.porting_order_id,
        created_at={"gte": since.isoformat(), "lte": row.created_at.isoformat()},
    )
    assert row.id in listed
    agree(
        mine(
            ours,
            event_type="porting_order.status_changed",
            porting_order_id=row.porting_order_id,
            created_at_gte=since,
            created_at_lte=row.created_at,
        ),
        listed,
    )


def test_one_by_one(sdk: telnyx.Telnyx, ours: TelnyxClient) -> None:
    for event_id in list(mine(ours))[::25]:
        single = sdk.porting.events.retrieve(event_id).data
        assert single is not None
        agree({event_id: ours.get_porting_event(event_id).raw}, {event_id: single.to_dict(mode="json")})


def test_counts(sdk: telnyx.Telnyx, ours: TelnyxClient) -> None:
    for event_type in sorted(EVENT_TYPES):
        assert ours.count_porting_events(event_type=event_type) == len(theirs(sdk, type=event_type))
