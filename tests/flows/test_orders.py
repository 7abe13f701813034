"""Orders: their rows say what is true now, whatever told it and in whatever order it came in."""

from __future__ import annotations

from datetime import timedelta
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from telnyx_porting.client import TelnyxClient
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.findings.kind import order_is_open
from telnyx_porting.flows.orders.history import Change, Reading, standing
from telnyx_porting.flows.orders.sync import project_events, sync_orders
from telnyx_porting.ledger.predicates import alert_is_live, is_given_up, not_generated, to_project
from telnyx_porting.ledger.tables import alerts, events, orders
from telnyx_porting.ledger.types import EPOCH
from tests.support.ledgers import plan_of
from tests.support.watched import START, Watched, order_id, quick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger

STATUSES = ("in-process", "submitted", "exception", "foc-date-confirmed", "ported")


NUMBERS = count(1_000)


@pytest.fixture
def watched(ledger: Ledger) -> Watched:
    return Watched(ledger)


def at(minutes: int) -> Any:
    return START + timedelta(minutes=minutes, microseconds=551)


HISTORY = st.lists(st.tuples(st.integers(0, 500), st.sampled_from(STATUSES)), unique_by=lambda step: step[0])


@given(HISTORY, st.randoms())
def test_the_order_in_which_events_come_in_does_not_matter(steps: list[tuple[int, str]], random: Any) -> None:
    changes = [Change(status, at(minutes), ()) for minutes, status in steps]
    shuffled = list(changes)
    random.shuffle(shuffled)
    assert standing(shuffled, None) == standing(changes, None)


@given(HISTORY)
def test_status_is_the_newest_and_episodes_are_runs_of_exception(steps: list[tuple[int, str]]) -> None:
    now = standing([Change(status, at(minutes), ()) for minutes, status in steps], None)
    if not steps:
        assert now is None
        return
    ordered = [status for _, status in sorted(steps)]
    runs = [status for n, status in enumerate(ordered) if n == 0 or ordered[n - 1] != status]
    assert now is not None
    assert (now.status, now.episode) == (ordered[-1], runs.count("exception"))


@pytest.mark.parametrize(
    ("read_at", "status", "expected"),
    [
        (9, "submitted", "exception"),  # read before the event: the event is news
        (10, "exception", "exception"),
        (11, "submitted", "submitted"),  # read after it: an event is missing or stuck
    ],
)
def test_order_itself_counts_only_where_it_is_newer(read_at: int, status: str, expected: str) -> None:
    told = [Change("in-process", at(1), ()), Change("exception", at(10), (("OTHER", None),))]
    now = standing(told, Reading(status, at(read_at), at(read_at), ()))
    assert now is not None
    assert now.status == expected


def test_milliseconds_of_an_order_and_microseconds_of_its_event_are_the_same_time() -> None:
    event = START.replace(microsecond=120_551)
    order = START.replace(microsecond=120_000)
    now = standing([Change("exception", event, ())], Reading("exception", order, order, (("NEW", "code"),)))
    assert now is not None
    assert (now.since, now.codes, now.episode) == (event, (("NEW", "code"),), 1)


def test_exception_known_only_from_the_order_is_counted_and_stays_counted(ledger: Ledger) -> None:
    watched = Watched(ledger)
    watched.status(1, "submitted")
    for status in ("exception", "submitted", "exception"):
        watched.later(minutes=1)
        watched.reading(1, status)
    watched.look()
    with ledger.read() as connection:
        assert connection.execute(select(orders.c.episode)).scalar_one() == 2


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(STATUSES), min_size=2, max_size=6).filter(
        lambda all_: all(a != b for a, b in pairwise(all_))
    ),
    st.lists(st.sampled_from(("event", "order", "both")), min_size=6, max_size=6),
    st.booleans(),
)
def test_where_an_order_came_from_is_known_whichever_of_event_and_order_told_it(
    watched: Watched, statuses: list[str], told_by: list[str], late: bool
) -> None:
    """An event that is stuck, and an order that nobody read meanwhile: one of the two tells of each status."""
    order = next(NUMBERS)
    account = Account(watched.ledger, watched.account, clock=lambda: watched.now)
    stuck: list[dict[str, Any]] = []
    for status, teller in zip(statuses, told_by, strict=False):
        watched.later(minutes=5)
        if teller != "order":
            watched.status(order, status)
        elif late:
            stuck.append(watched.raw_status(order, status))
        if teller != "event":
            watched.reading(order, status)
        project_events(account)
    for _ in range(2):
        with watched.ledger.read() as connection:
            row = connection.execute(select(orders).where(orders.c.id == order_id(order))).mappings().one()
        assert (row["status"], row["came_from"]) == (statuses[-1], statuses[-2])
        watched.later(minutes=5)
        for raw in stuck:  # they complete after all
            watched.tell(raw)
        project_events(account)


def test_events_are_taken_in_once_and_again_when_their_payload_comes(ledger: Ledger) -> None:
    watched = Watched(ledger)
    late = watched.event("status_changed", 1, None)
    for order in range(2, 300):
        watched.tell(watched.raw_status(order, "submitted"))
    assert project_events(Account(ledger, watched.account, clock=lambda: watched.now)) == 299
    assert project_events(Account(ledger, watched.account, clock=lambda: watched.now)) == 0
    watched.later(minutes=1)
    watched.status(1, "submitted", id=late)
    assert project_events(Account(ledger, watched.account, clock=lambda: watched.now)) == 1


def test_deleted_draft_is_closed(ledger: Ledger) -> None:
    watched = Watched(ledger)
    watched.reading(1, "draft")
    watched.later(minutes=1)
    deleted_at = watched.now.isoformat()
    watched.event("deleted", 1, {"id": order_id(1), "customer_reference": "x", "deleted_at": deleted_at})
    watched.look()
    with ledger.read() as connection:
        assert connection.execute(select(orders.c.status)).scalar_one() == "deleted"


# -- against a simulated Telnyx ----------------------------------------------------------------------------------------


@pytest.fixture
def client(sandbox: RunningSandbox) -> Iterator[TelnyxClient]:
    sandbox.reset("empty")
    with TelnyxClient(sandbox.api_key, sandbox.base_url) as telnyx:
        yield telnyx


def test_list_is_read_once_a_day_and_open_orders_every_hour(
    ledger: Ledger, sandbox: RunningSandbox, client: TelnyxClient
) -> None:
    ids = [sandbox.order(customer_reference=f"branch-{number}") for number in range(3)]
    sandbox.act(ids[0], "status", value="ported", force=True)
    watched = Watched(ledger, quick())

    def sync() -> tuple[bool, int]:
        result = sync_orders(Account(ledger, watched.account, watched.settings, lambda: watched.now), client)
        return result.listed, result.read

    assert sync() == (True, 3)
    sandbox.forget_requests()
    watched.later(minutes=30)
    assert sync() == (False, 0)
    assert sandbox.requests()["total"] == 0, "nothing is due: nothing is asked"
    watched.later(minutes=30)
    listed, read = sync()
    assert read == (3 if listed else 2), "the finished order is left alone, unless the list is shorter"
    watched.later(days=1)
    assert sync() == (True, 3)


def test_an_order_whose_messaging_part_is_open_is_read_every_hour(
    ledger: Ledger, sandbox: RunningSandbox, client: TelnyxClient
) -> None:
    order = sandbox.order()
    sandbox.act(order, "status", value="ported", force=True)
    sandbox.act(order, "messaging", value="pending", force=True)
    watched = Watched(ledger, quick())
    sync_orders(Account(ledger, watched.account, watched.settings, lambda: watched.now), client)
    sandbox.act(order, "messaging", value="exception", force=True)
    watched.later(hours=1)
    sync_orders(Account(ledger, watched.account, watched.settings, lambda: watched.now), client)
    with ledger.read() as connection:
        row = connection.execute(select(orders)).mappings().one()
    assert (row["status"], row["messaging_status"]) == ("ported", "exception")


def test_order_says_what_no_event_says(ledger: Ledger, sandbox: RunningSandbox, client: TelnyxClient) -> None:
    order = sandbox.order(customer_reference="north-branch-17")
    sandbox.act(order, "status", value="foc-date-confirmed", foc="2026-10-02T15:00:00Z", force=True)
    watched = Watched(ledger, quick())
    sync_orders(Account(ledger, watched.account, watched.settings, lambda: watched.now), client)
    with ledger.read() as connection:
        row = connection.execute(select(orders)).mappings().one()
    assert (row["status"], row["customer_reference"], row["seen_by"]) == (
        "foc-date-confirmed",
        "north-branch-17",
        "order",
    )
    assert row["foc_actual"].isoformat() == "2026-10-02T15:00:00+00:00"


# -- the cost of a look ------------------------------------------------------------------------------------------------


def test_looks_use_the_indexes_on_what_is_open(ledger: Ledger) -> None:
    """A look costs what is open, not what ever was."""
    queries = {
        "porting_events_to_project": select(events.c.id).where(
            events.c.account == "a", to_project(events), events.c.created_at > EPOCH
        ),
        "porting_orders_open": select(orders.c.id).where(orders.c.account == "a", order_is_open()),
        "porting_events_given_up": select(events.c.id).where(
            events.c.account == "a", is_given_up(events), events.c.created_at > EPOCH
        ),
        "porting_events_not_generated": select(events.c.id).where(
            events.c.account == "a", not_generated(events), events.c.created_at <= START
        ),
        "porting_alerts_live": select(alerts.c.key).where(
            alerts.c.account == "a", alerts.c.channel == "c", alert_is_live(alerts)
        ),
        "porting_alerts_due": select(alerts.c.key).where(
            alerts.c.account == "a", alerts.c.next_at.is_not(None), alerts.c.next_at <= START
        ),
    }
    for index, query in queries.items():
        assert index in plan_of(ledger, query), index
