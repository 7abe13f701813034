"""Fixtures of the flow tests: a ledger on each database, a provider whose time is the test's, and the closed loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.sandbox.testing import RunningSandbox, running_sandbox
from tests.scenarios.loop import Loop, loop
from tests.support.ledgers import ledger, postgres_server, postgres_url
from tests.support.moves import watched_moves
from tests.support.provider import Provider
from tests.support.rows import NOW, add_event, add_feed, add_watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from telnyx_porting.ledger.engine import Ledger

__all__ = ["ledger", "postgres_server", "postgres_url"]


@pytest.fixture(autouse=True)
def moves(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test does: no event and no republish goes from a state to one that `states.py` does not name."""
    if "ledger" not in request.fixturenames:
        yield
        return
    with watched_moves(request.getfixturevalue("ledger")):
        yield


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def provider(sandbox: RunningSandbox, ledger: Ledger) -> Provider:
    return Provider(sandbox, ledger)


@pytest.fixture
def world(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Loop]:
    """The closed loop after first contact: its feeds are proved."""
    with loop(sandbox, tmp_path) as running:
        running.begin()
        yield running


@pytest.fixture
def others_arrived(ledger: Ledger) -> None:
    """The receiver is the consumer of record, and others arrived: the evidence covers port-ins."""
    add_feed(ledger)
    add_watch(ledger)
    for _ in range(6):
        add_event(ledger, delivery="arrived", arrived_at=NOW)
