"""One delivery proves at most one event: as properties over many small worlds, and the cases that bite."""

from __future__ import annotations

import uuid
from collections import Counter, namedtuple
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.arrival import decide
from telnyx_porting.flows.deliveries.matching import match
from telnyx_porting.flows.deliveries.rivals import Reach, assign
from telnyx_porting.ledger.tables import deliveries
from telnyx_porting.settings import load
from tests.support.rows import ACCOUNT, NOW, add_delivery, add_event, add_feed, add_watch, event_row

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

SETTINGS = load(environ={"TELNYX_PORTING_CONSUMER_OF_RECORD": "receiver"})
MESSAGING = "porting_order.messaging_changed"
Candidate = namedtuple(
    "Candidate",
    "id type created_at updated_at natural_key natural_at copies sent arrived_at reread_at payload_status",
)
Row = namedtuple("Row", "source source_id webhook_id type natural_key natural_at occurred_at signed_at stored_at ok")

END = Reach.of(SETTINGS, NOW + timedelta(days=1))
KEYS = {MESSAGING: "messaging_changed:o:pending", "porting_order.split": "split:o:p"}
minutes = st.integers(0, 300)


@st.composite
def worlds(draw: Any) -> tuple[list[Candidate], list[Row]]:
    """Events that share a natural key, and deliveries of it."""
    kind = draw(st.sampled_from([MESSAGING, "porting_order.status_changed", "porting_order.split"]))

    def key(at: Any) -> str:
        return KEYS.get(kind) or f"status_changed:o:submitted:{at:%Y-%m-%dT%H:%M:%S}"

    candidates = []
    for number, at in enumerate(draw(st.lists(minutes, min_size=1, max_size=4))):
        created = NOW + timedelta(minutes=at)
        sent = draw(st.lists(minutes.map(lambda m: NOW + timedelta(minutes=m)), max_size=2))
        generated = draw(st.booleans())
        known = (key(created), created.isoformat()) if generated else (None, None)
        status = "completed" if generated else "created"
        candidates.append(Candidate(f"e{number}", kind, created, created, *known, 1, sent, None, None, status))
    rows = []
    for number in range(draw(st.integers(0, 6))):
        occurred = NOW + timedelta(minutes=draw(minutes), seconds=draw(st.integers(0, 5)))
        signed = occurred + timedelta(minutes=draw(st.sampled_from([0, 0, 1, 90])))
        webhook = draw(st.sampled_from(["w1", "w2", "w3", "w4"]))
        at = draw(st.sampled_from([occurred, *(c.created_at for c in candidates)]))
        written = draw(st.sampled_from([None, at.isoformat(), (at + timedelta(microseconds=300_000)).isoformat()]))
        times = (occurred, signed, signed)
        rows.append(Row("receiver", f"d{number}", webhook, kind, key(at), written, *times, draw(st.booleans())))
    return candidates, rows


@given(worlds())
def test_a_delivery_proves_at_most_one_event(world: tuple[list[Candidate], list[Row]]) -> None:
    candidates, rows = world
    decided = list(assign(candidates, rows, END))  # type: ignore[arg-type]
    assert Counter(row.source_id for row, _, _ in decided) == Counter(row.source_id for row in rows)
    by_webhook: dict[str, set[str | None]] = {}
    for row, event_id, matched in decided:
        assert (event_id is not None) == (matched == "key")
        by_webhook.setdefault(row.webhook_id, set()).add(event_id)
    assert all(len(found) == 1 for found in by_webhook.values())


@given(worlds())
def test_the_order_in_which_deliveries_come_does_not_matter(world: tuple[list[Candidate], list[Row]]) -> None:
    candidates, rows = world
    outcome = {row.source_id: (event, how) for row, event, how in assign(candidates, rows, END)}  # type: ignore[arg-type]
    again = {row.source_id: (event, how) for row, event, how in assign(candidates[::-1], rows[::-1], END)}  # type: ignore[arg-type]
    same_start = len({(row.occurred_at, row.webhook_id) for row in rows}) == len({row.webhook_id for row in rows})
    if same_start and len({c.created_at for c in candidates}) == len(candidates):
        assert outcome == again


def _messaging(ledger: Ledger, order: str, minutes_ago: int, **more: Any) -> str:
    at = NOW - timedelta(minutes=minutes_ago)
    return add_event(
        ledger,
        type=MESSAGING,
        order_id=order,
        created_at=at,
        natural_key=f"messaging_changed:{order}:pending",
        natural_at=at.isoformat(),
        **more,
    )


def _told(ledger: Ledger, order: str, minutes_ago: float, signed_ago: float | None = None, **more: Any) -> str:
    at = NOW - timedelta(minutes=minutes_ago)
    signed = NOW - timedelta(minutes=minutes_ago if signed_ago is None else signed_ago)
    return add_delivery(
        ledger,
        type=MESSAGING,
        natural_key=f"messaging_changed:{order}:pending",
        natural_at=at.isoformat(),
        occurred_at=at,
        signed_at=signed,
        stored_at=signed,
        **more,
    )


def _decide(ledger: Ledger, *event_ids: str) -> list[str]:
    add_feed(ledger)
    add_watch(ledger)
    for _ in range(5):
        add_event(ledger, delivery="arrived", arrived_at=NOW)
    match(Account(ledger, ACCOUNT, SETTINGS))
    decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    return [event_row(ledger, event).delivery for event in event_ids]


def test_two_states_alike_are_told_apart_by_time(ledger: Ledger) -> None:
    order = str(uuid.uuid4())
    first, second = _messaging(ledger, order, 180), _messaging(ledger, order, 60)
    _told(ledger, order, 180)
    assert _decide(ledger, first, second) == ["arrived", "missed"]


def test_a_resend_that_says_now_does_not_prove_its_younger_brother(ledger: Ledger) -> None:
    """Republished with a new id and a new time: it looks like the younger event, of which nothing was ever heard."""
    order = str(uuid.uuid4())
    first = _messaging(ledger, order, 90, sends=1, last_sent_at=NOW - timedelta(minutes=58))
    second = _messaging(ledger, order, 60)
    _told(ledger, order, 57.9)
    assert "arrived" not in _decide(ledger, first, second)


def test_two_copies_of_one_webhook_do_not_prove_two_events(ledger: Ledger) -> None:
    order = str(uuid.uuid4())
    first, second = _messaging(ledger, order, 62), _messaging(ledger, order, 60)
    webhook = str(uuid.uuid4())
    _told(ledger, order, 62, webhook_id=webhook)
    _told(ledger, order, 62, webhook_id=webhook, signed_ago=60)
    assert _decide(ledger, first, second) == ["arrived", "missed"]


def test_where_webhooks_come_doubled_as_many_as_promised_do_not_prove_a_brother(ledger: Ledger) -> None:
    """Two splits alike, of which the first was told twice under ids of their own, and the second never."""
    order, key = str(uuid.uuid4()), "split:o:p"
    at = [NOW - timedelta(minutes=minutes) for minutes in (64, 60)]
    common = {"type": "porting_order.split", "order_id": order, "natural_key": key, "natural_at": None}
    first, second = (add_event(ledger, created_at=moment, **common) for moment in at)
    for _ in range(2):
        add_delivery(ledger, occurred_at=at[0], signed_at=at[0], stored_at=at[0], **common)
    add_feed(ledger, doubled_at=NOW - timedelta(days=1))
    assert _decide(ledger, first, second) == ["arrived", "missed"]


def test_an_id_that_belongs_to_an_event_of_another_type_proves_nothing(ledger: Ledger) -> None:
    event = add_event(ledger)
    add_delivery(ledger, webhook_id=event, type="porting_order.new_comment")
    assert _decide(ledger, event) == ["missed"]


def test_times_agree_at_the_coarser_precision(ledger: Ledger) -> None:
    order, at = str(uuid.uuid4()), NOW - timedelta(hours=1, microseconds=250_000)
    key = f"status_changed:{order}:submitted:{at:%Y-%m-%dT%H:%M:%S}"
    event = add_event(ledger, order_id=order, created_at=at, natural_key=key, natural_at=at.isoformat())
    add_delivery(ledger, natural_key=key, natural_at=f"{at:%Y-%m-%dT%H:%M:%S}+00:00")
    assert _decide(ledger, event) == ["arrived"]


def test_failed_tries_that_fit_two_events_leave_both_missed(ledger: Ledger) -> None:
    """Ambiguity matters only where something arrived."""
    order = str(uuid.uuid4())
    first, second = _messaging(ledger, order, 60), _messaging(ledger, order, 60)
    _told(ledger, order, 60, ok=False)
    assert _decide(ledger, first, second) == ["missed", "missed"]


def test_one_arrival_that_fits_two_events_proves_neither(ledger: Ledger) -> None:
    order = str(uuid.uuid4())
    first, second = _messaging(ledger, order, 60), _messaging(ledger, order, 60)
    _told(ledger, order, 60)
    assert _decide(ledger, first, second) == ["undetermined", "undetermined"]
    with ledger.read() as connection:
        assert connection.execute(deliveries.select()).one().event_id is None
