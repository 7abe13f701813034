"""Account identity: no flow reads, sends or stores anything of another Telnyx user, wherever a connection leads."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.client import TelnyxClient
from telnyx_porting.errors import WrongAccountError
from telnyx_porting.flows.account import Account, get_account, touch_account
from telnyx_porting.flows.alerts.exception_types import keep_exception_types
from telnyx_porting.flows.deliveries.pull import read_deliveries
from telnyx_porting.flows.desk.preflight import preflight
from telnyx_porting.flows.events.audit import audit, audit_tonight
from telnyx_porting.flows.events.backfill import backfill
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.flows.identity import accept, verify
from telnyx_porting.flows.orders.sync import keep_readings, read_orders, sync_orders
from telnyx_porting.flows.republish.advance import Done, advance
from telnyx_porting.flows.republish.orders import read_order
from telnyx_porting.flows.republish.plan import approve
from telnyx_porting.flows.subscriptions import read_destinations
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import accounts, metadata, windows
from telnyx_porting.models import parse_order
from telnyx_porting.settings import Settings
from tests.conftest import ROOT
from tests.scenarios.loop import ACCOUNT, Loop, loop
from tests.support.crew import lose
from tests.support.door import Door, open_door

if TYPE_CHECKING:
    from pathlib import Path

OWN, ROTATED, OTHER, NEW = "KEY_SANDBOX", "KEY_OF_OURS_TOO", "KEY_OF_ANOTHER_USER", "KEY_OF_A_NEW_USER"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KNOBS = Settings(first_look_days=2)


@dataclass
class Street:
    """Our account, a plan of it that is approved and not sent yet, and its neighbours."""

    world: Loop
    door: Door
    own: RunningSandbox
    other: RunningSandbox
    new: RunningSandbox
    order: str
    plan: str
    lost: list[str]

    @contextmanager
    def client(self, key: str, base_url: str | None = None) -> Iterator[TelnyxClient]:
        with TelnyxClient(key, base_url or self.door.base_url, clock=self.world.clock) as client:
            yield client

    def run(self, flow: str, client: TelnyxClient) -> Any:
        return FLOWS[flow](self.world.ledger, client, self.world.settings, self.world.clock.now(), self)

    def posts(self) -> int:
        return sum(len(sandbox.republishes()) for sandbox in (self.own, self.other, self.new))


Flow = Callable[[Ledger, TelnyxClient, Settings, datetime, Street], object]


def _preflight(ledger: Ledger, client: TelnyxClient, knobs: Settings, now: datetime, street: Street) -> None:
    """It does not raise: it says so in a line, and does not look further."""
    lines = preflight(Account(ledger, ACCOUNT, knobs, lambda: now), client)
    for line in lines:
        if line.what == "account":
            assert not line.ok
            assert not any("deliveries can" in one.what or "subscri" in one.what for one in lines)
            raise WrongAccountError(line.todo)
    assert all(line.ok for line in lines if "can be read" in line.what)


FLOWS: dict[str, Flow] = {
    "scan": lambda ledger, client, knobs, now, _: scan(Account(ledger, ACCOUNT, knobs, lambda: now), client),
    "backfill": lambda ledger, client, knobs, now, _: backfill(
        Account(ledger, ACCOUNT, knobs, lambda: now), client, now - 9 * DAY, now - 8 * DAY
    ),
    "audit": lambda ledger, client, knobs, now, _: audit(Account(ledger, ACCOUNT, knobs, lambda: now), client),
    "audit_tonight": lambda ledger, client, knobs, now, _: audit_tonight(
        Account(ledger, ACCOUNT, knobs, lambda: now), client
    ),
    "read_deliveries": lambda ledger, client, knobs, now, _: read_deliveries(
        Account(ledger, ACCOUNT, knobs, lambda: now), client
    ),
    "sync_orders": lambda ledger, client, knobs, now, _: sync_orders(
        Account(ledger, ACCOUNT, knobs, lambda: now), client, full=True
    ),
    "read_orders": lambda ledger, client, _, now, street: read_orders(
        Account(ledger, ACCOUNT, clock=lambda: now), client, [street.order]
    ),
    "keep_exception_types": lambda ledger, client, _, now, __: keep_exception_types(
        Account(ledger, ACCOUNT, clock=lambda: now), client
    ),
    "read_destinations": lambda ledger, client, _, now, __: read_destinations(
        Account(ledger, ACCOUNT, clock=lambda: now), client
    ),
    "read_order": lambda ledger, client, knobs, now, street: read_order(
        Account(ledger, ACCOUNT, knobs, lambda: now), client, street.order
    ),
    "preflight": _preflight,
    "advance": lambda ledger, client, knobs, _, street: advance(
        Account(ledger, ACCOUNT, knobs, clock=street.world.clock.now), client, street.plan
    ),
}


@contextmanager
def street(folder: Path) -> Iterator[Street]:
    with (
        running_sandbox() as own,
        running_sandbox(seed=2, api_key=OTHER) as other,
        running_sandbox(seed=3, api_key=NEW) as new,
        open_door({OWN: own, ROTATED: own, OTHER: other, NEW: new}) as door,
    ):
        other.act(other.order(), "comment", body="of somebody else", complete_after=0)
        own.base_url = door.base_url
        with loop(own, folder) as world:
            order = world.begin()
            lost = lose(world, 3)
            plan = world.plan()
            assert plan is not None
            approve(Account(world.ledger, ACCOUNT, clock=lambda: world.clock.now()), plan.id, plan.hash, "ann")
            yield Street(world, door, own, other, new, order, plan.id, lost)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """One for all tests in which nothing may change."""
    with street(tmp_path_factory.mktemp("street")) as built:
        yield built


def everything(ledger: Ledger) -> dict[str, list[Any]]:
    with ledger.read() as connection:
        return {
            table.name: sorted(connection.execute(select(table)).all(), key=repr) for table in metadata.sorted_tables
        }


def pinned(ledger: Ledger) -> dict[str, Any]:
    with ledger.read() as connection:
        return dict(get_account(connection, ACCOUNT) or {})


# -- every flow, no exception ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(
    ("key", "elsewhere", "says", "requests"),
    [
        (OTHER, True, "was first seen at .*, its connection now points to ", 0),
        (OWN, True, "was first seen at .*, its connection now points to ", 0),
        (OTHER, False, "belongs to Telnyx user .*, its key now to [0-9a-f-]{36}: put a key of that user", 1),
        (NEW, False, "belongs to Telnyx user .*, its key now to nobody who can be told: it shows no order", 1),
    ],
    ids=["another host", "another host with our key", "another user's key", "a new user's key"],
)
def test_no_flow_runs_for_another_user(
    quiet: Street, flow: str, key: str, elsewhere: bool, says: str, requests: int
) -> None:
    before, posts = everything(quiet.world.ledger), quiet.posts()
    quiet.door.asked.clear()
    quiet.other.forget_requests()
    with (
        quiet.client(key, quiet.other.base_url if elsewhere else None) as client,
        pytest.raises(WrongAccountError, match=f"^account '{ACCOUNT}' {says}") as caught,
    ):
        quiet.run(flow, client)
    assert "\n" not in str(caught.value)
    assert key not in str(caught.value)
    assert everything(quiet.world.ledger) == before, "a row changed"
    assert quiet.posts() == posts
    assert len(quiet.door.asked) == requests, quiet.door.asked
    assert all("/porting_orders?" in path for _, _, path in quiet.door.asked)
    if elsewhere:
        assert quiet.other.requests()["total"] == 0, "even a GET tells another host our key"


def test_every_flow_runs_with_another_key_of_our_user_and_asks_once_whose_it_is(tmp_path: Path) -> None:
    """What the table above refuses does run: and one client asks once, however many flows it serves."""
    with street(tmp_path) as built:
        built.door.asked.clear()
        with built.client(ROTATED) as client:
            for flow in FLOWS:
                built.run(flow, client)
        whose = [path for _, _, path in built.door.asked if "/porting_orders?" in path and "size%5D=1&" in path + "&"]
        assert len(whose) == 2, "whose key it is, and the line of preflight"
        assert built.posts() == 1
        built.door.asked.clear()
        with built.client(ROTATED) as client:
            accept(Account(built.world.ledger, ACCOUNT, clock=lambda: built.world.clock.now()), client)
        assert built.door.asked == [], "a key that is known needs no request"


def test_a_key_rotated_to_another_user_between_two_waves_sends_nothing_and_condemns_nothing(tmp_path: Path) -> None:
    with street(tmp_path) as built:
        with built.client(OWN) as client:
            built.run("advance", client)
        assert built.posts() == 1
        before = everything(built.world.ledger)
        for key in (OTHER, NEW):
            with built.client(key) as client, pytest.raises(WrongAccountError):
                built.run("advance", client)
        assert built.posts() == 1
        assert everything(built.world.ledger) == before
        assert isinstance(built.world.resume(built.plan), Done)
        assert {built.world.states()[event] for event in built.lost} == {"arrived"}
        assert built.world.verdicts() == {"arrived": 3}


# -- a flow cannot forget ----------------------------------------------------------------------------------------------


def flows_with_a_client() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function of flows that takes a client nobody has looked at yet; mypy keeps it from those that take ours."""
    for path in sorted((ROOT / "plugins/telnyx_porting/flows").rglob("*.py")):
        if path.name == "identity.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any(
                "TelnyxClient" in ast.unparse(arg.annotation)
                for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                if arg.annotation is not None
            ):
                yield f"{path.name}: {node.name}", node


def test_every_flow_that_takes_a_client_is_in_the_table() -> None:
    assert {name.split(": ")[1] for name, _ in flows_with_a_client()} == set(FLOWS)


def test_every_flow_that_takes_a_client_has_it_accepted_before_it_uses_it() -> None:
    for name, function in flows_with_a_client():
        uses = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == "client"]
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        checks = [call for call in calls if ast.unparse(call.func) in ("accept", "verify")]
        first = min(
            (use for use in uses if isinstance(use.ctx, ast.Load)), key=lambda use: (use.lineno, use.col_offset)
        )
        assert any(first in ast.walk(check) for check in checks), f"{name}: client is used before accept()"


def test_only_identity_makes_an_accepted_client() -> None:
    for path in sorted((ROOT / "plugins/telnyx_porting").rglob("*.py")):
        if path.name != "identity.py":
            assert "AccountClient(" not in path.read_text(), f"{path.name} accepts a client by itself"


# -- before anybody knows whose account it is --------------------------------------------------------------------------


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
        verify(Account(ledger, ACCOUNT), client)
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
