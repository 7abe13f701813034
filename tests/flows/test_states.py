"""States in the ledger: written as words, and moved only as the tables of moves say.

Those hold for whatever the other tests do: see the fixture `moves`. Here: that a move which no table names is seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from telnyx_porting.ledger.states import EVENT_MOVES, REPUBLISH_MOVES, UNRESOLVED, CloseReason, Delivery, Republish
from telnyx_porting.ledger.tables import events, republishes
from tests.support.moves import watched_moves
from tests.support.rows import ACCOUNT, NOW, add_event

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger


@pytest.mark.parametrize(("count", "fresh"), [(1, False), (200, False), (200, True)], ids=["one", "many", "copied"])
def test_a_state_is_written_as_its_word(ledger: Ledger, count: int, fresh: bool) -> None:
    state = {"state": Republish.PLANNED, "detail": CloseReason.DONE}
    row = {"account": ACCOUNT, "plan_id": "p", "position": 0, "wave": 1, **state}
    with ledger.write() as connection:
        ledger.upsert(connection, republishes, [row | {"event_id": f"e{n}"} for n in range(count)], fresh=fresh)
        found = connection.execute(select(republishes.c.state, republishes.c.detail)).all()
    assert [(type(row.state), *row) for row in found] == [(str, "planned", "done")] * count


def test_every_state_has_its_moves() -> None:
    assert set(EVENT_MOVES) == {None, *Delivery}
    assert set(REPUBLISH_MOVES) == set(Republish)
    for final in (Republish.ARRIVED, Republish.DROPPED):
        assert REPUBLISH_MOVES[final] == {}
    assert not any(set(REPUBLISH_MOVES[state]) & {Republish.DROPPED} for state in UNRESOLVED)


@pytest.mark.parametrize(
    ("delivery", "new"), [("arrived", "missed"), ("arrived", None), ("given_up", "missed"), ("undetermined", "arrived")]
)
def test_a_move_no_event_may_make_is_seen(ledger: Ledger, delivery: str, new: str | None) -> None:
    if not ledger.is_sqlite:
        pytest.skip("watched on SQLite")
    add_event(ledger, delivery=delivery)
    with pytest.raises(AssertionError, match=f"{delivery} -> {new}"), watched_moves(ledger):
        with ledger.write() as connection:
            connection.execute(events.update().values(delivery=new))


@pytest.mark.parametrize(
    ("row", "new"),
    [
        ({"state": "arrived", "settled_at": NOW}, "not_arrived"),
        ({"state": "planned"}, "accepted"),
        ({"state": "accepted"}, "planned"),
        ({"state": "unknown", "settled_at": NOW}, "arrived"),
    ],
)
def test_a_move_no_republish_may_make_is_seen(ledger: Ledger, row: dict[str, Any], new: str) -> None:
    if not ledger.is_sqlite:
        pytest.skip("watched on SQLite")
    common = {"account": ACCOUNT, "plan_id": "p", "event_id": "e", "position": 0, "wave": 1}
    with ledger.write() as connection:
        connection.execute(republishes.insert().values(**common | row))
    with pytest.raises(AssertionError, match=f"{row['state']} -> {new}"), watched_moves(ledger):
        with ledger.write() as connection:
            connection.execute(republishes.update().values(state=new))
