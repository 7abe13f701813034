"""What the console reads: a count is its rows, every line leads somewhere, and nothing foreign breaks a page."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from telnyx_porting.errors import SettingsError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.act import MOST, act
from telnyx_porting.flows.desk.board import SHOWN, read_board
from telnyx_porting.flows.desk.health import read_health
from telnyx_porting.flows.desk.lines import TITLES, WHO, Where, find_lines
from telnyx_porting.flows.desk.missed import MissedWhere, choose, count_missed, find_missed
from telnyx_porting.flows.desk.order import read_event, read_order
from telnyx_porting.flows.desk.orders import NOBODY, SORTS, OrderWhere, find_orders, status_counts
from telnyx_porting.flows.desk.page import Page
from telnyx_porting.flows.desk.plans import read_plan
from telnyx_porting.flows.desk.preflight import Line, keep_lines
from telnyx_porting.ledger.tables import findings, orders, windows
from tests.support.big_ledger import fill_big, order_id
from tests.support.ledgers import both_databases
from tests.support.rows import ACCOUNT, NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from telnyx_porting.ledger.engine import Ledger

COUNT = 2_400  # orders; some filters have several pages
ledger = both_databases("module")


@pytest.fixture
def moves() -> None:
    """Nothing here moves."""


@pytest.fixture(scope="module")
def desk(ledger: Ledger) -> Account:
    fill_big(ledger, COUNT, every=10)
    return Account(ledger, ACCOUNT, clock=lambda: NOW)


def every(page: Callable[[int], Page[Any]]) -> list[Any]:
    """The rows of all pages; each page says the same total, and it is theirs."""
    first = page(1)
    rows = [row for number in range(1, first.last + 1) for row in page(number).rows]
    assert len(rows) == first.total
    assert not page(first.last + 1).rows
    return rows


@pytest.mark.parametrize("who", WHO)
def test_each_open_finding_is_in_one_section_and_a_count_is_its_rows(desk: Account, who: Any) -> None:
    board = read_board(desk, who=who, actor="ann")
    found = every(lambda n: find_lines(desk, Where(who=who), actor="ann", page=n))
    assert [section.name for section in board.sections] == list(TITLES)
    keys: list[str] = []
    for section in board.sections:
        rows = every(lambda n, where=section.where: find_lines(desk, where, actor="ann", page=n))  # type: ignore[misc]
        assert section.total == len(rows)
        assert section.lines == tuple(rows[:SHOWN])
        keys += [row.key for row in rows]
    assert sorted(keys) == sorted(row.key for row in found)
    assert {"mine": board.mine, "unassigned": board.unassigned, "all": board.everything}[who] == len(found) > 0
    owners = {row.owner for row in found}
    with desk.ledger.read() as connection:
        still_open = connection.execute(
            select(findings.c.key, findings.c.owner).where(findings.c.resolved_at.is_(None))
        )
        theirs = {"mine": {"ann"}, "unassigned": {None}, "all": owners}[who]
        wanted = sorted(key for key, owner in still_open if owner in theirs)
    assert sorted(keys) == wanted
    assert who != "all" or len(wanted) > 200, "more than are read at once"
    assert owners == {"mine": {"ann"}, "unassigned": {None}, "all": {"ann", "bob", None}}[who]


def test_an_exception_is_due_by_the_date_that_it_endangers(desk: Account) -> None:
    lines = every(lambda n: find_lines(desk, Where(kind="exception"), actor="ann", page=n))
    with desk.ledger.read() as connection:
        rows = connection.execute(select(orders.c.id, orders.c.foc_actual, orders.c.foc_requested)).all()
    dates = {order: agreed or asked for order, agreed, asked in rows}
    due = [line.due for line in lines]
    assert due == [dates[line.order_id] for line in lines] == sorted(due)
    assert len(set(due)) > 1


@pytest.mark.parametrize("who", WHO)
def test_a_day_of_the_board_is_the_orders_it_leads_to(desk: Account, who: Any) -> None:
    days = read_board(desk, who=who, actor="ann").foc
    assert [day.title for day in days][:2] == ["Overdue", "Today"]
    assert sum(day.total for day in days) > 0
    seen: set[str] = set()
    for day in days:
        rows = every(lambda n, where=day.where: find_orders(desk, where, sort="foc", page=n))  # type: ignore[misc]
        assert (day.total, day.numbers) == (len(rows), sum(row.numbers for row in rows))
        assert seen.isdisjoint(row.id for row in rows)
        seen |= {row.id for row in rows}


def test_every_order_of_the_days_ahead_is_on_the_board(desk: Account) -> None:
    day = NOW.replace(hour=0, minute=0)
    there = {line.id for line in every(lambda n: find_orders(desk, OrderWhere(status="open"), page=n))}
    dated = [
        order
        for order in every(lambda n: find_orders(desk, OrderWhere(status="open"), page=n))
        if order.foc_agreed and order.foc < day + timedelta(days=8)  # NOW is a Thursday: the fifth working day after it
    ]
    assert len(there) > len(dated) > 0
    assert sum(each.total for each in read_board(desk, actor="ann").foc) == len(dated)


@pytest.mark.parametrize("sort", [f"{sign}{name}" for name in SORTS for sign in ("", "-")])
@pytest.mark.parametrize("where", [OrderWhere(), OrderWhere(status="open"), OrderWhere(owner="ann")])
def test_orders_are_all_there_once_and_sorted(desk: Account, sort: str, where: OrderWhere) -> None:
    rows = every(lambda n: find_orders(desk, where, sort=sort, page=n))
    assert len({row.id for row in rows}) == len(rows) > 10
    agreed = "foc" not in sort
    name = {"updated": "updated_at"}.get(sort.removeprefix("-"), sort.removeprefix("-"))
    values = [getattr(row, name) if agreed or row.foc_agreed else None for row in rows]
    known = [value for value in values if value is not None]
    assert values[len(known) :] == [None] * (len(values) - len(known)), "what has no value comes last"
    assert known == sorted(known, reverse=sort.startswith("-"))


def test_counts_by_status_lead_to_their_orders(desk: Account) -> None:
    counts = status_counts(desk)
    assert sum(counts.values()) == COUNT
    for status, count in counts.items():
        assert find_orders(desk, OrderWhere(status=status)).total == count
    some = find_orders(desk, OrderWhere(owner="ann")).total
    nobody = find_orders(desk, OrderWhere(owner=NOBODY)).total
    both = find_orders(desk, OrderWhere(owner="bob")).total
    assert some + both + nobody == COUNT


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (order_id(77), 1),
        (order_id(77).upper(), 1),
        (order_id(77)[:13], 1),
        ("site-000077", 1),
        ("SITE-00007", 10),
        ("sr_00004d", 1),
        ("pr_000007", 10),
        (" Group-77 ", len(range(77, COUNT, 500))),
        ("site-", COUNT),
        ("ite-000077", 0),
        ("%", 0),
        ("sr\\_", 0),
        ("' OR 1=1 --", 0),
        ("\x00", 0),
        ("\ud800", 0),
        ("\U0010ffff", 0),
        ("\ud7ff", 0),
        ("x" * 5_000, 0),
        ("e\u0301", 0),
    ],
)
def test_an_order_is_found_by_how_any_of_its_names_begins(desk: Account, text: str, found: int) -> None:
    page = find_orders(desk, OrderWhere(search=text))
    assert page.total == found
    assert len(page.rows) == min(found, page.size)
    if found == 1:
        assert [row.id for row in page.rows] == [order_id(77)]


@pytest.mark.parametrize("text", ["s", "site-", "0"])
@pytest.mark.parametrize("sort", ["-updated", "foc"])
def test_a_search_that_fits_too_much_is_bounded_and_says_so(
    desk: Account, monkeypatch: pytest.MonkeyPatch, text: str, sort: str
) -> None:
    everything = find_orders(desk, OrderWhere(search=text), sort=sort)
    assert not everything.is_least
    monkeypatch.setattr("telnyx_porting.flows.desk.orders.MOST", 70)
    some = find_orders(desk, OrderWhere(search=text), sort=sort)
    assert (some.total, some.is_least) == (70, True)
    rows = every(lambda n: find_orders(desk, OrderWhere(search=text), sort=sort, page=n))
    assert len({row.id for row in rows}) == 70 < everything.total
    narrowed = find_orders(desk, OrderWhere(search=text, status="exception", owner="ann"))
    assert not narrowed.is_least
    assert all(row.status == "exception" for row in narrowed.rows)


def test_parts_of_a_split_stand_together(desk: Account) -> None:
    for one, other in ((100, 101), (101, 100)):
        (row,) = find_orders(desk, OrderWhere(search=order_id(one))).rows
        assert [(part.id, part.is_parent) for part in row.parts] == [(order_id(other), other == 100)]


@pytest.mark.parametrize("state", ["missed", "given_up", "pending"])
def test_counts_of_missed_events_lead_to_their_rows(desk: Account, state: str) -> None:
    for where, count in count_missed(desk):
        if where.state == state:
            rows = every(lambda n, where=where: find_missed(desk, where, page=n))  # type: ignore[misc]
            assert len(rows) == count == choose(desk, where).total
            assert {row.state for row in rows} <= {state}


def test_each_filter_of_missed_events_narrows(desk: Account) -> None:
    rows = every(lambda n: find_missed(desk, page=n))
    one, at = rows[0], rows[len(rows) // 2].at
    for where, holds in (
        (MissedWhere(order_id=one.order_id), lambda row: row.order_id == one.order_id),
        (MissedWhere(since=at), lambda row: row.at >= at),
        (MissedWhere(until=at), lambda row: row.at < at),
        (MissedWhere(type="porting_order.new_comment"), lambda row: False),
        (MissedWhere(cause="no_trace"), lambda row: True),
    ):
        narrowed = every(lambda n, where=where: find_missed(desk, where, page=n))  # type: ignore[misc]
        assert [row.id for row in narrowed] == [row.id for row in rows if holds(row)]
        assert sorted(choose(desk, where).ids) == sorted(row.id for row in narrowed)


def test_one_order_is_one_line_of_time(desk: Account) -> None:
    found = read_order(desk, order_id(40))
    assert found is not None
    kinds = {entry.kind for entry in found.timeline}
    assert kinds == {"event", "webhook", "finding", "alert", "plan", "attempt"} | kinds & {"action"}
    assert [entry.at for entry in found.timeline] == sorted((entry.at for entry in found.timeline), reverse=True)
    assert sum(entry.kind == "event" for entry in found.timeline) == 10
    webhooks = [entry for entry in found.timeline if entry.kind == "webhook"]
    assert {(entry.latency, entry.where, entry.attempt) for entry in webhooks} == {
        (timedelta(seconds=1), "https://crm.example.com/hook", 1)
    }
    assert [comment.author for comment in found.comments] == ["admin", "user"]
    assert found.findings == find_lines(desk, Where(order_id=order_id(40))).rows
    event = next(entry.event_id for entry in found.timeline if entry.kind == "event")
    assert event is not None
    assert (raw := read_event(desk, event)) is not None
    assert raw["payload"]["comment"]["body"] == order_id(40)[:20]


ODD = ("\x00", "\ud800", "'; DROP TABLE porting_orders; --", "x" * 5_000, "")


@pytest.mark.parametrize("text", ODD)
def test_whatever_an_address_says_is_answered(desk: Account, text: str) -> None:
    assert read_order(desk, text) is None
    assert read_event(desk, text) is None
    assert read_plan(desk, text) is None
    wheres = [replace(OrderWhere(), **{name: text}) for name in ("search", "status", "owner")]
    for where in wheres:
        assert find_orders(desk, where).total in (0, COUNT)
    for name in ("state", "cause", "type", "order_id"):
        find_missed(desk, replace(MissedWhere(), **{name: text}))
    for name in ("kind", "severity", "order_id", "key"):
        find_lines(desk, replace(Where(), **{name: text}))
    if text:
        with pytest.raises(SettingsError, match="2026-10-02"):
            find_orders(desk, OrderWhere(foc=text))


def test_an_action_reaches_all_pages_of_its_filter_and_says_what_failed(desk: Account) -> None:
    everything = find_lines(desk).total
    assert act(desk, "eve", "acknowledge", Where()).done == everything > Page.size
    where = Where(section="questions", who="unassigned")
    keys = [line.key for line in every(lambda n: find_lines(desk, where, actor="eve", page=n))]
    assert act(desk, "eve", "own", [*keys[:1], "nobody:knows"]).failed == 1
    done = act(desk, "eve", "own", where)
    assert (done.done, done.failed, done.left) == (len(keys) - 1, 0, 0)
    mine = Where(section="questions", who="mine")
    assert sorted(line.key for line in every(lambda n: find_lines(desk, mine, actor="eve", page=n))) == sorted(keys)
    assert not act(desk, "eve", "mute", mine, text="no end").done

    order = str(find_lines(desk, mine, actor="eve").rows[0].order_id)
    assert act(desk, "eve", "note", Where(order_id=order), text="asked the customer").done == 1
    found = read_order(desk, order)
    assert found is not None
    said = [(each.title, each.detail) for each in found.timeline if each.kind == "action" and each.who == "eve"]
    assert [title for title, _ in sorted(said)] == ["acknowledged", "gave it to", "noted"]
    assert {("gave it to", "eve"), ("noted", "asked the customer")} <= set(said)
    assert act(desk, "eve", "release", mine).done == len(keys)


def test_an_action_is_bounded_and_says_what_is_left(desk: Account) -> None:
    done = act(desk, "eve", "unmute", [f"exception:{n}" for n in range(MOST + 7)])
    assert (done.done, done.failed, done.left) == (0, MOST, 7)
    assert len(done.why) < 10


def test_health_says_what_is_open_and_what_preflight_found(desk: Account) -> None:
    assert read_health(desk).checked_at is None
    keep_lines(desk, [Line(True, "ledger"), Line(False, "key\n", "put a valid one")])
    found = read_health(desk)
    assert (found.checks[1].ok, found.checks[1].todo, found.checked_at) == (False, "put a valid one", NOW)
    with desk.ledger.read() as connection:
        still = windows.c.sealed_at.is_(None)
        assert found.windows_open == connection.execute(select(func.count()).where(still)).scalar_one() > 0
    assert found.windows[0]["reason"] == "Telnyx did not answer"
    assert [feed.source for feed in found.feeds] == ["events", "deliveries", "receiver"]
    assert [feed.decides for feed in found.feeds] == [False, False, True]
    assert found.headline.complete_to == found.feeds[0].until
    assert [certificate["method"] for certificate in found.certificates] == ["ids"]
