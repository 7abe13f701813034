"""Fixtures of the receiver's tests: a ledger on each database, and a receiver that takes webhooks into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.airflow_server import Server, airflow_server
from tests.support.ledgers import both_databases, ledger, new_file, postgres_server, postgres_url
from tests.support.receivers import ACCOUNT, OTHER, Signer, World, receiver, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from telnyx_porting.ledger.engine import Ledger

__all__ = ["ledger", "postgres_server", "postgres_url"]


@pytest.fixture
def file_ledger() -> Iterator[Ledger]:
    """An empty, upgraded ledger in a file."""
    with new_file() as handle:
        yield handle


module_ledger = both_databases("module")


@pytest.fixture(scope="module")
def world(module_ledger: Ledger) -> Iterator[World]:
    """One receiver for all tests of a module that leave it as it was."""
    old, new, other = Signer(), Signer(), Signer()
    keys = [f"{ACCOUNT}={old.public}", f"{ACCOUNT}={new.public}", f"{OTHER}={other.public}"]
    with receiver(url_of(module_ledger), keys) as running:
        yield World(running, module_ledger, old, new, other)
        assert running.process.poll() is None


@pytest.fixture(scope="module")
def console(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Airflow's API server with the console, whose ledger is a file that is empty."""
    home = tmp_path_factory.mktemp("console")
    with new_file() as handle, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELNYX_PORTING_LEDGER_URL", str(handle.url))
        with airflow_server(home) as server:
            yield server
