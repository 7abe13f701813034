"""Account identity before anybody knows whose account it is: who is pinned, who is refused, and when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.client import TelnyxClient
from telnyx_porting.errors import WrongAccountError
from telnyx_porting.flows.account import Account, touch_account
from telnyx_porting.flows.desk.preflight import preflight
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.flows.identity import accept
from telnyx_porting.flows.orders.sync import keep_readings, read_orders, sync_orders
from telnyx_porting.ledger.tables import accounts, windows
from telnyx_porting.models.records import parse_order
from tests.scenarios.loop import ACCOUNT
from tests.support.door import Door, open_door
from tests.support.street import HOUR, KNOBS, OTHER, OWN, ROTATED, everything, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.ledger.engine import Ledger


@pytest.fixture(scope="module")
def neighbours() -> Iterator[tuple[Door, RunningSandbox, RunningSandbox]]:
    with (
        running_sandbox(seed=1) as own,
        running_sandbox(seed=2, api_key=OTHER) as other,
        open_door({OWN: own, ROTATED: own, OTHER: other}) as door,
    ):
        yield door, own, other


@pytest.fixture
def empty(neighbours: tuple[Door, RunningSandbox, RunningSandbox]) -> tuple[Door, RunningSandbox, RunningSandbox]:
    """Two users without orders behind one URL."""
    door, own, other = neighbours
    own.reset("empty", seed=1)
    own.clear_faults()
    other.reset("empty", seed=2)
    return neighbours


Empty = tuple[Door, RunningSandbox, RunningSandbox]


def user_of(sandbox: RunningSandbox) -> str:
    with TelnyxClient(sandbox.api_key, sandbox.base_url) as client:
        return next(order.user_id or "" for order in client.iter_porting_orders())


def test_a_new_account_starts_without_orders_and_is_pinned_by_its_first(ledger: Ledger, empty: Empty) -> None:
    door, own, _ = empty
    now = datetime.now(UTC)
    with TelnyxClient(OWN, door.base_url) as client:
        assert scan(Account(ledger, ACCOUNT, KNOBS, lambda: now), client).first_contact
        assert (pinned(ledger)["base_url"], pinned(ledger)["user_id"]) == (door.base_url, None)
        own.order()
        sync_orders(
            Account(ledger, ACCOUNT, KNOBS, lambda: now), client, full=True
        )  # the same client: asked before there was an order
    assert pinned(ledger)["user_id"] == user_of(own)


def test_a_new_account_is_pinned_by_a_scan_too(ledger: Ledger, empty: Empty) -> None:
    door, own, _ = empty
    for number in range(2):
        with TelnyxClient(OWN, door.base_url) as client:
            assert scan(Account(ledger, ACCOUNT, KNOBS), client).first_contact is (number == 0)
        own.order()
    assert pinned(ledger)["user_id"] == user_of(own)


def test_another_key_begins_anew_while_nothing_is_held(ledger: Ledger, empty: Empty) -> None:
    """That there was nothing says nothing of the new key's user: what he has older than that is read."""
    door, own, other = empty
    now = datetime.now(UTC)
    order = other.order()
    old = other.insert({"order_id": order, "created_at": (now - 3 * HOUR).isoformat()})[0]["id"]
    with TelnyxClient(OWN, door.base_url) as client:
        scan(Account(ledger, ACCOUNT, KNOBS, lambda: now - 2 * HOUR), client)
    with TelnyxClient(OTHER, door.base_url) as client:
        result = scan(Account(ledger, ACCOUNT, KNOBS, lambda: now), client)
    assert result.first_contact
    assert pinned(ledger)["user_id"] == user_of(other)
    assert pinned(ledger)["watch_from"] == now
    held = {row.id for row in everything(ledger)["porting_events"]}
    assert old in held
    with ledger.read() as connection:
        assert len(connection.execute(select(windows)).all()) == 1
    own.order()
    with TelnyxClient(OWN, door.base_url) as client, pytest.raises(WrongAccountError, match="belongs to Telnyx user"):
        scan(Account(ledger, ACCOUNT, KNOBS, lambda: now), client)


@pytest.mark.parametrize("with_order", [False, True])
def test_another_key_is_refused_when_something_is_held_of_nobody_knows_whom(
    ledger: Ledger, empty: Empty, with_order: bool
) -> None:
    door, own, other = empty
    now = datetime.now(UTC)
    own.insert({"order_id": own.order(), "created_at": (now - HOUR).isoformat()})
    own.fault("status", status=403, path="/v2/porting_orders", method="GET")
    with TelnyxClient(OWN, door.base_url) as client:
        assert scan(Account(ledger, ACCOUNT, KNOBS, lambda: now), client).new >= 1
    if with_order:
        other.order()
    before = everything(ledger)
    with (
        TelnyxClient(OTHER, door.base_url) as client,
        pytest.raises(WrongAccountError, match="was read with another key before an order showed whose it is"),
    ):
        scan(Account(ledger, ACCOUNT, KNOBS, lambda: now), client)
    assert everything(ledger) == before
    own.clear_faults()
    with TelnyxClient(OWN, door.base_url) as client:
        scan(Account(ledger, ACCOUNT, KNOBS, lambda: now), client)
    assert pinned(ledger)["user_id"] == user_of(own)


def test_a_key_that_may_not_read_orders_is_nobodys(ledger: Ledger, empty: Empty) -> None:
    door, own, _ = empty
    own.order()
    now = datetime.now(UTC)
    with TelnyxClient(OWN, door.base_url) as client:
        scan(Account(ledger, ACCOUNT, KNOBS, lambda: now), client)
    own.fault("status", status=403, path="/v2/porting_orders", method="GET")
    with TelnyxClient(OWN, door.base_url) as client:
        scan(Account(ledger, ACCOUNT, KNOBS, lambda: now), client)
    with TelnyxClient(ROTATED, door.base_url) as client, pytest.raises(WrongAccountError, match="shows no order"):
        scan(Account(ledger, ACCOUNT, KNOBS, lambda: now), client)
    own.clear_faults()
    with TelnyxClient(ROTATED, door.base_url) as client:
        scan(Account(ledger, ACCOUNT, KNOBS, lambda: now), client)


def test_an_order_of_another_user_is_never_stored(ledger: Ledger, empty: Empty) -> None:
    """Whatever the key says: the same URL may lead elsewhere today (a proxy, a name server)."""
    door, own, _ = empty
    own.order()
    now = datetime.now(UTC)
    with TelnyxClient(OWN, door.base_url) as client:
        sync_orders(Account(ledger, ACCOUNT, KNOBS, lambda: now), client, full=True)
    own.reset("empty", seed=7)
    strange = own.order()
    before = everything(ledger)
    for flow in (
        lambda client: sync_orders(Account(ledger, ACCOUNT, KNOBS, lambda: now), client, full=True),
        lambda client: read_orders(Account(ledger, ACCOUNT, clock=lambda: now), client, [strange]),
    ):
        with (
            TelnyxClient(OWN, door.base_url) as client,
            pytest.raises(WrongAccountError, match=r"an order it lists to .*nothing of this reading is stored"),
        ):
            flow(client)
    assert everything(ledger) == before


def test_orders_of_two_users_in_one_reading_are_not_stored(ledger: Ledger) -> None:
    raw = [{"id": f"5796a670-482c-490e-8d97-82bfcdc8301{n}", "user_id": f"user {n}"} for n in range(2)]
    with pytest.raises(WrongAccountError, match="belongs to Telnyx user user 0, an order it lists to user 1"):
        keep_readings(Account(ledger, ACCOUNT), [parse_order(one) for one in raw])
    assert not any(everything(ledger).values())


def test_looking_pins_nothing(ledger: Ledger, empty: Empty) -> None:
    door, own, _ = empty
    own.order()
    with TelnyxClient(OWN, door.base_url) as client:
        accept(Account(ledger, ACCOUNT), client, pin=False)
        preflight(Account(ledger, ACCOUNT, KNOBS), client)
    assert not any(everything(ledger).values())


def test_who_was_pinned_while_a_client_was_being_asked_stays(ledger: Ledger, empty: Empty) -> None:
    """Two first contacts at once, with keys of two users: one of them is refused."""
    door, own, other = empty
    own.order()
    other.order()
    now = datetime.now(UTC)

    class Slow(TelnyxClient):
        def get_user_id(self) -> str | None:
            found = super().get_user_id()
            with ledger.write() as connection:  # the other was faster
                touch_account(ledger, connection, ACCOUNT, base_url=door.base_url, user_id=user_of(other))
            return found

    with Slow(OWN, door.base_url) as client, pytest.raises(WrongAccountError, match="belongs to Telnyx user"):
        accept(Account(ledger, ACCOUNT, clock=lambda: now), client)
    with ledger.read() as connection:
        assert connection.execute(select(accounts.c.user_id)).scalars().all() == [user_of(other)]
