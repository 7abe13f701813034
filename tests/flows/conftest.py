"""Fixtures of the flow tests: a ledger on each database, and a provider whose time is the test's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.sandbox.testing import RunningSandbox, running_sandbox
from tests.support.ledgers import ledger, postgres_server, postgres_url
from tests.support.moves import watched_moves
from tests.support.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

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
