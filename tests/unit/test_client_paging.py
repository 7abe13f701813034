"""Lists are complete or an error, whatever the provider makes of its freedoms."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from telnyx_porting.client import proof as proof_module
from telnyx_porting.errors import IncompleteListing
from tests.support.mirror import NOW, START, Mirror, event, ids, read, spread

pytestmark = pytest.mark.usefixtures("small_windows")
ALL_META = frozenset({"page_number", "page_size", "total_pages", "total_results"})


# -- the property -----------------------------------------------------------------------------------------------------

KINDS = [
    st.integers(0, 40).map(lambda n: timedelta(seconds=n)),  # crowded, with ties
    st.integers(0, 10_000_000).map(lambda n: timedelta(microseconds=n)),  # within ten seconds
    st.integers(0, 50 * 86_400).map(lambda n: timedelta(seconds=n)),  # weeks
]
offsets = st.one_of(KINDS)


@st.composite
def mirrors(draw: st.DrawFn) -> tuple[Mirror, datetime | None, datetime, int, set[str]]:
    """A mirror, the window and page size to ask with, and the ids of the late rows."""
    moments = [
        START + offset
        for offset in draw(
            st.lists(draw(st.sampled_from([offsets, *KINDS])), min_size=draw(st.sampled_from([0, 30])), max_size=60)
        )
    ]
    rows = []
    for number, at in enumerate(moments):
        style = draw(st.sampled_from(["micro", "micro", "micro", "seconds", "payload"]))
        if style == "seconds":
            at = at.replace(microsecond=0)
        if style == "payload":
            inside = {"created_at": at.isoformat(), "deleted_at": at.isoformat()}
            rows.append((at, event(number, None, event_type="porting_order.deleted", payload=inside)))
        else:
            rows.append((at, event(number, at)))
    late = [(START + offset, number) for number, offset in enumerate(draw(st.lists(offsets, max_size=3)), 1000)]
    arrivals: dict[int, list[tuple[datetime, dict[str, Any]]]] = {}
    for at, number in late:
        arrivals.setdefault(draw(st.integers(1, 25)), []).append((at, event(number, at)))
    page_size = draw(st.integers(1, 12))
    cap = draw(st.one_of(st.none(), st.none(), st.integers(page_size + 1, 40)))
    mirror = Mirror(
        rows,
        order=draw(st.sampled_from(["newest", "oldest", "shuffled", "restless"])),
        bounds=draw(st.sampled_from(["inclusive", "exclusive", "seconds", "ignored"])),
        biggest_page=draw(st.sampled_from([250, 250, 5])),
        fixed_page=draw(st.sampled_from([None, None, None, 4, 20])),
        meta=draw(
            st.sampled_from([ALL_META] * 4 + [ALL_META - {"total_results"}, ALL_META - {"page_size"}, frozenset()])
        ),
        cap=cap,
        hard_cap=False,
        past_end=draw(st.sampled_from(["empty", "empty", "refused"])),
        repeats=frozenset(row["id"] for _, row in rows if draw(st.integers(0, 19)) == 0),
        repeats_count=draw(st.booleans()),
        arrivals=arrivals,
        seed=draw(st.integers(0, 999)),
    )
    since = draw(st.one_of(st.none(), offsets.map(lambda offset: START + offset)))
    until = max(since or START, START + draw(offsets))
    return mirror, since, until, page_size, {event(number, None)["id"] for _, number in late}


@given(mirrors())
@settings(max_examples=150)
def test_a_listing_is_what_the_window_held_or_an_error(
    case: tuple[Mirror, datetime | None, datetime, int, set[str]],
) -> None:
    mirror, since, until, page_size, late = case

    def in_window() -> set[str]:
        return {row["id"] for at, row in mirror.rows if (since is None or since <= at) and at <= until}

    before = in_window()
    try:
        windows = read(mirror, since, until, page_size)
    except IncompleteListing as error:
        note(f"incomplete: {str(error).rsplit(': ', 1)[-1][:40]}")
        return
    note("complete, in parts" if len(windows) > 1 else "complete")
    got = ids(windows)
    assert len(got) == len(set(got))
    # What was there at the start is there; what came meanwhile may be.
    assert before <= set(got) <= in_window()
    assert set(got) - before <= late
    times = [row.created_at for window in windows for row in window.rows]
    assert times == sorted(times)
    assert windows[0].since == since
    assert windows[-1].until == until
    assert [w.until for w in windows[:-1]] == [w.since for w in windows[1:]]


@given(mirrors())
@settings(max_examples=60)
def test_a_steady_list_in_good_order_is_always_read(
    case: tuple[Mirror, datetime | None, datetime, int, set[str]],
) -> None:
    """Complete or an error must not be kept by errors: the usual freedoms never make one."""
    mirror, since, until, page_size, _ = case
    mirror.arrivals.clear()
    mirror.cap = None
    mirror.order = "newest" if mirror.order == "restless" else mirror.order
    mirror.meta = ALL_META
    if mirror.bounds == "ignored":
        mirror.bounds = "inclusive"
    read(mirror, since, until, page_size)


@given(
    st.sets(st.integers(0, 5_000), min_size=10, max_size=60),
    st.integers(2, 9),
    st.integers(10, 40),
    st.sampled_from(["newest", "oldest", "shuffled"]),
    st.sampled_from(["inclusive", "exclusive", "seconds"]),
    st.sampled_from(["empty", "refused"]),
)
def test_a_provider_that_caps_counts_and_pages_alike_is_found_out(
    seconds: set[int], page_size: int, cap: int, order: str, bounds: str, past_end: str
) -> None:
    """Such a list looks complete: every count agrees with every row."""
    rows = [(START + timedelta(seconds=n), event(n, START + timedelta(seconds=n))) for n in sorted(seconds)]
    mirror = Mirror(rows, order=order, bounds=bounds, cap=cap, hard_cap=True, past_end=past_end)
    until = START + timedelta(seconds=6_000)
    assert sorted(ids(read(mirror, START, until, page_size))) == [row["id"] for _, row in rows]


# -- single cases, each of them once wrong or easily made wrong -------------------------------------------------------


def test_a_small_list_costs_one_request() -> None:
    mirror = Mirror(spread(7))
    assert len(ids(read(mirror, START, NOW))) == 7
    assert len(mirror.requests) == 1


def test_a_full_page_is_not_taken_for_the_end() -> None:
    mirror = Mirror(spread(8))
    assert len(ids(read(mirror, START, NOW, page_size=8))) == 8
    assert len(mirror.requests) > 1


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
def test_a_deep_list_is_split_and_each_event_given_once(order: str) -> None:
    windows = read(Mirror(spread(200), order=order), page_size=4)
    assert len(windows) > 10
    assert ids(windows) == [row["id"] for _, row in spread(200)]
    assert max(len(window.rows) for window in windows) <= 12


def test_more_events_in_a_second_than_fit_a_window_are_read_by_pages() -> None:
    mirror = Mirror([(START, event(n, START)) for n in range(60)])
    assert len(ids(read(mirror, START - timedelta(days=1), NOW, page_size=5))) == 60


def test_ties_that_come_in_another_order_each_time_end_in_a_clear_error() -> None:
    mirror = Mirror([(START, event(n, START)) for n in range(60)], order="restless")
    with pytest.raises(IncompleteListing) as caught:
        read(mirror, START - timedelta(days=1), NOW, page_size=5)
    said = re.search(
        r"listing of (\S+) to (\S+): the provider counts 60, ([0-5]?\d) distinct read: ", str(caught.value)
    )
    assert said
    assert datetime.fromisoformat(said[1]) < datetime.fromisoformat(said[2]) == caught.value.until <= NOW
    assert len(mirror.requests) < 250


def test_ties_are_read_when_only_one_reading_missed_some() -> None:
    """Rows of an earlier reading still count: 20 rows in a new order each time are soon all seen."""
    mirror = Mirror([(START, event(n, START)) for n in range(6)], order="restless", seed=3)
    assert len(ids(read(mirror, START, NOW, page_size=4))) == 6


def test_too_many_events_in_one_second_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_module, "UNSPLITTABLE_ROWS", 50)
    mirror = Mirror([(START, event(n, START)) for n in range(60)])
    with pytest.raises(IncompleteListing, match="more than 50 rows"):
        read(mirror, START, START, page_size=5)


def test_a_late_event_in_a_closed_window_is_caught() -> None:
    """It appears on a page that was read already, between the first page and the last."""
    late = (START + timedelta(minutes=30), event(999, START + timedelta(minutes=30)))
    mirror = Mirror(spread(8), order="newest", arrivals={2: [late]})
    assert late[1]["id"] in ids(read(mirror, START, NOW, page_size=3))


def test_events_at_the_very_bounds_are_in_and_their_neighbours_out() -> None:
    moments = [START + timedelta(microseconds=n) for n in range(-2, 3)]
    for bounds in ("inclusive", "exclusive", "seconds"):
        mirror = Mirror([(at, event(n, at)) for n, at in enumerate(moments)], bounds=bounds)
        [window] = read(mirror, moments[1], moments[3])
        assert [row.created_at for row in window.rows] == moments[1:4]


def test_an_event_without_any_time_is_given_once() -> None:
    """Where it belongs cannot be told, so it stays where the provider put it, though windows overlap there."""
    rows = spread(40, timedelta(seconds=1))
    rows.append((START + timedelta(seconds=20), event(777, None)))
    got = ids(read(Mirror(rows), START, START + timedelta(seconds=40), page_size=4))
    assert sorted(got) == sorted(row["id"] for _, row in rows)


def test_a_provider_that_ignores_bounds_is_read_if_small_and_refused_if_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proof_module, "UNSPLITTABLE_ROWS", 50)
    until = START + timedelta(hours=3)
    assert len(ids(read(Mirror(spread(50), bounds="ignored"), START, until))) == 4
    with pytest.raises(IncompleteListing, match="more than 50 rows"):
        read(Mirror(spread(51), bounds="ignored"), START, until, page_size=5)


def test_bounds_that_turn_out_to_be_ignored_end_in_a_clear_error() -> None:
    """Page 1 looked right by chance; every part would be the whole list again."""
    mirror = Mirror(spread(60), bounds="ignored", order="newest")
    with pytest.raises(IncompleteListing, match="outside the bounds"):
        read(mirror, START + timedelta(hours=30), START + timedelta(hours=60), page_size=4)
    assert len(mirror.requests) < 10


def test_a_list_that_grows_at_every_look_is_not_chased_for_ever() -> None:
    """However fast we read, there is a new row behind us; a reading may succeed where pages are few."""
    soon = START + timedelta(minutes=10)
    late = [(soon + timedelta(microseconds=n), event(1000 + n, soon + timedelta(microseconds=n))) for n in range(3_000)]
    mirror = Mirror(spread(40), arrivals={n: [row] for n, row in enumerate(late, 1)})
    with suppress(IncompleteListing):
        read(mirror, START, NOW, page_size=4)
    assert len(mirror.requests) < 500


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("page_size", [1, 7, 250])
def test_a_row_twice_on_its_page_is_no_shift(page_size: int, counted: bool) -> None:
    rows = spread(30)
    twice = rows[11][1]["id"]
    mirror = Mirror(rows, repeats=frozenset({twice}), repeats_count=counted)
    windows = read(mirror, page_size=page_size)
    assert sorted(ids(windows)) == [row["id"] for _, row in rows]
    assert sum(len(window.rows) for window in windows) == 30
    assert {name for window in windows for name in (*window.unread, *window.repeated)} == {f"{twice} twice on a page"}
