"""Ledgers for tests: the same test on a SQLite file and on a real PostgreSQL server carried by a wheel."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import uuid
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

from include.demo.homes import home
from include.demo.ports import reserve
from include.demo.postgres import Server, start
from include.demo.processes import Processes
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.urls import normalise
from tests.conftest import BUILD

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def shared_server() -> Server | None:
    """The PostgreSQL server of this test process, started when first asked for; None where the wheel has no build."""
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(home(BUILD / "tmp", "postgres"))
    ports = stack.enter_context(reserve(usual=False))
    return start(stack.enter_context(Processes(folder)), ports.postgres)


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """A PostgreSQL server for this run, as a URL; skipped where its wheel is not installed."""
    server = shared_server()
    if server is None:
        pytest.skip("the PostgreSQL wheel is not installed, or has no build for this platform")
    return server.url()


@contextmanager
def _database(server: str, template: str = "template1") -> Iterator[str]:
    name = f"porting_{uuid.uuid4().hex[:12]}"
    admin = create_engine(normalise(server), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield normalise(server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh database on that server."""
    with _database(postgres_server) as url:
        yield url


# Upgraded once per test process; each test gets a copy.


@cache
def _upgraded_file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ledger-", dir=BUILD / "tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _upgrade(f"sqlite:///{folder / 'ledger.db'}")
    return folder / "ledger.db"


@cache
def _upgraded_database(server: str) -> str:
    admin = create_engine(normalise(server), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE porting_upgraded"))
    admin.dispose()
    _upgrade(normalise(server).set(database="porting_upgraded").render_as_string(hide_password=False))
    return "porting_upgraded"


def _upgrade(url: str) -> None:
    handle = Ledger(url)
    handle.upgrade()
    handle.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """An empty, upgraded ledger on each supported database."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{shutil.copy(_upgraded_file(), tmp_path / 'ledger.db')}"
        else:
            server = request.getfixturevalue("postgres_server")
            url = stack.enter_context(_database(server, _upgraded_database(server)))
        handle = Ledger(url)
        yield handle
        handle.close()
