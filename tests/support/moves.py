"""Watch from which state to which the events and republishes of a ledger go: nothing moves but as `states.py` says."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from telnyx_porting.ledger.states import EVENT_MOVES, REPUBLISH_MOVES, Republish
from telnyx_porting.ledger.tables import events, republishes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.ledger.engine import Ledger

MOVES: dict[str, dict[Any, dict[Any, str]]] = {events.name: EVENT_MOVES, republishes.name: REPUBLISH_MOVES}
WATCH = """
CREATE TABLE IF NOT EXISTS moves (what, old, final, new, UNIQUE (what, old, final, new));
CREATE TRIGGER IF NOT EXISTS event_moves AFTER UPDATE OF delivery ON porting_events
    WHEN old.delivery IS NOT new.delivery
BEGIN
    INSERT OR IGNORE INTO moves VALUES ('porting_events', old.delivery, 0, new.delivery);
END;
CREATE TRIGGER IF NOT EXISTS republish_moves AFTER UPDATE OF state, settled_at ON porting_republishes
    WHEN (old.state, old.settled_at) IS NOT (new.state, new.settled_at)
BEGIN
    INSERT OR IGNORE INTO moves VALUES ('porting_republishes', old.state, old.settled_at IS NOT NULL, new.state);
END;
"""


@contextmanager
def watched_moves(ledger: Ledger) -> Iterator[None]:
    """Fail when an event or a republish has moved as it never may. On SQLite: the code that moves them is the same."""
    if not ledger.is_sqlite:
        yield
        return
    with ledger.engine.connect() as connection:
        connection.connection.dbapi_connection.executescript(WATCH)  # type: ignore[union-attr]
    yield
    with ledger.write() as connection:
        seen = connection.exec_driver_sql("DELETE FROM moves RETURNING *").all()
    wrong = [f"{what}: {old} -> {new}" for what, old, final, new in seen if not _may(what, old, final, new)]
    assert not wrong, wrong


def _may(what: str, old: str | None, final: bool, new: str | None) -> bool:
    if final and old == Republish.UNKNOWN:  # that is a verdict
        return False
    return new in MOVES[what][old]
