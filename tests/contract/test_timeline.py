"""Computed history and stored rows together behave like one sorted list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.sandbox.world import catalog
from include.sandbox.world.archive import Archive
from include.sandbox.world.ids import Ids
from include.sandbox.world.model import Event
from include.sandbox.world.timeline import Selection, Timeline
from include.sandbox.world.times import DAY

if TYPE_CHECKING:
    import httpx

    from include.sandbox.testing import RunningSandbox

IDS = Ids(5)
UNTIL = 1_800_000_000_000_000
SPAN = 40 * DAY


def row(number: int, at: int, event_type: str, order_id: str) -> Event:
    return Event(
        id=IDS.named(f"row {number}"),
        type=event_type,
        order_id=order_id,
        occurred_us=at,
        created_us=at,
        updated_us=at,
        completed=True,
        payload={},
        seq=10**9 + number,
    )


@given(
    computed=st.integers(0, 300),
    rows=st.lists(
        st.tuples(st.integers(-50, 350), st.sampled_from([catalog.NEW_COMMENT, catalog.SPLIT]), st.integers(0, 3)),
        max_size=30,
    ),
    bounds=st.tuples(st.none() | st.integers(-60, 360), st.none() | st.integers(-60, 360)),
    event_type=st.none() | st.sampled_from(catalog.EVENT_TYPES),
    of_order=st.none() | st.integers(0, 3),
    size=st.integers(1, 40),
)
def test_any_selection_in_any_pages(
    computed: int,
    rows: list[tuple[int, str, int]],
    bounds: tuple[int | None, int | None],
    event_type: str | None,
    of_order: int | None,
    size: int,
) -> None:
    archive = Archive(IDS, computed, UNTIL, SPAN)
    orders = [archive.order(n).id if n < archive.order_count else IDS.named(f"order {n}") for n in range(4)]
    timeline = Timeline(archive)
    step = SPAN // max(1, computed)

    def moment(number: int) -> int:
        return archive.created_us(number) if 0 <= number < computed else UNTIL - SPAN + number * step

    everything = [archive.event(n) for n in range(computed)]
    for number, (at, kind, order) in enumerate(rows):
        made = row(number, moment(at), kind, orders[order])
        timeline.add(made)
        everything.append(made)
    since, until = (None if b is None else moment(b) for b in bounds)
    want = Selection(since, until, event_type, None if of_order is None else orders[of_order])
    expected = sorted(
        (
            e
            for e in everything
            if (since is None or e.created_us >= since)
            and (until is None or e.created_us <= until)
            and event_type in (None, e.type)
            and want.order_id in (None, e.order_id)
        ),
        key=lambda e: e.sort_key,
    )
    view = timeline.view(want)
    assert len(view) == len(expected)
    pages = [view.slice(start, start + size) for start in range(0, len(expected) + size, size)]
    assert [e.id for page in pages for e in page] == [e.id for e in expected]
    for event in everything:
        found = timeline.find(event.id)
        assert found is not None
        assert found.sort_key == event.sort_key


@pytest.mark.parametrize("events", [1, 13, 5_000])
def test_a_computed_history_is_whole(events: int) -> None:
    archive = Archive(IDS, events, UNTIL)
    made = [archive.event(n) for n in range(events)]
    assert len({e.id for e in made}) == events
    assert [e.created_us for e in made] == sorted(e.created_us for e in made)
    assert made[-1].created_us < UNTIL
    orders = {e.order_id for e in made}
    assert len(orders) == archive.order_count
    assert all(archive.positions_of_order(o) for o in orders)
    assert sum(len(archive.positions_of_order(o)) for o in orders) == events
    assert archive.find_event(IDS.named("stranger")) is None


def test_orders_agree_with_their_events(sandbox: RunningSandbox, api: httpx.Client) -> None:
    """Also in the computed history; stuck events hide a status, nothing else does."""
    sandbox.reset("volume", events=2_000)
    orders, page = {}, 1
    while data := api.get("/porting_orders", params={"page[size]": 250, "page[number]": page}).json()["data"]:
        orders |= {order["id"]: order for order in data}
        page += 1
    assert len(orders) == sandbox.truth()["orders"]
    last: dict[str, str | None] = {}
    for number in range(1, 9):
        for event in api.get("/porting/events", params={"page[size]": 250, "page[number]": number}).json()["data"]:
            if event["event_type"] == catalog.STATUS_CHANGED:
                payload = event["payload"]
                last[event["porting_order_id"]] = payload and payload["status"]["value"]
    checked = 0
    for order_id, status in last.items():
        if status is not None and order_id in orders:
            assert orders[order_id]["status"]["value"] == status
            checked += 1
    assert checked > 100


def test_listing_is_quick_at_any_depth(sandbox: RunningSandbox, api: httpx.Client) -> None:
    sandbox.reset("volume", events=1_000_000)
    meta = api.get("/porting/events", params={"page[size]": 250, "page[number]": 4000})
    assert meta.json()["meta"] == {
        "page_number": 4000,
        "page_size": 250,
        "total_pages": 4000,
        "total_results": 1_000_000,
    }
    assert len(meta.json()["data"]) == 250
    assert meta.elapsed.total_seconds() < 0.5


def test_two_changes_of_one_order_are_never_at_the_same_moment(sandbox: RunningSandbox, api: httpx.Client) -> None:
    """Somebody must be able to tell which is the later, however soon it comes."""
    sandbox.reset("empty")
    order = sandbox.order()
    for number in range(10):
        sandbox.act(order, "status", value=("exception", "submitted")[number % 2], force=True)
    for event in api.get("/porting/events", params={"page[size]": 50}).json()["data"]:
        sandbox.complete(event["id"])
    events = api.get("/porting/events", params={"page[size]": 50}).json()["data"]
    moments = [event["payload"]["updated_at"] for event in events if event["event_type"] == catalog.STATUS_CHANGED]
    assert len(moments) == len(set(moments)) == 10
