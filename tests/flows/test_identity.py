"""Account identity: no flow reads, sends or stores anything of another Telnyx user, wherever a connection leads."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from telnyx_porting.errors import WrongAccountError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.identity import accept
from telnyx_porting.flows.republish.advance import Done
from tests.scenarios.loop import ACCOUNT
from tests.support.places import ROOT
from tests.support.street import FLOWS, NEW, OTHER, OWN, ROTATED, Street, everything, street

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """One for all tests in which nothing may change."""
    with street(tmp_path_factory.mktemp("street")) as built:
        yield built


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
    """Every function of flows that takes a client nobody has looked at yet; mypy keeps it from those that take ours.

    Not those without a ledger, or with one that is thrown away: there is no account whose key it could be.
    """
    for path in sorted((ROOT / "plugins/telnyx_porting/flows").rglob("*.py")):
        if path.name in ("identity.py", "batch.py", "check.py"):
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
