"""A ledger on a PostgreSQL server as companies run it: behind a pooler, with their options, in any encoding."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import func, select, text

from telnyx_porting.__main__ import main
from telnyx_porting.errors import LedgerError
from telnyx_porting.flows.deliveries.receipts import store_receipts
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import deliveries
from telnyx_porting.ledger.urls import LEDGER_URL, normalise
from tests.support.bouncer import bouncer
from tests.support.rows import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres


def receipt(number: int) -> dict[str, object]:
    now = datetime.now(UTC)
    names = [column.name for column in deliveries.c]
    row: dict[str, object] = dict.fromkeys(names)
    return row | {
        "account": ACCOUNT,
        "source": "receiver",
        "source_id": f"{number:05}",
        "ok": True,
        "signed_at": now,
        "stored_at": now,
    }


def test_behind_a_pooler_every_write_is_kept(postgres_url: str) -> None:
    """Eight receivers share two connections, each of which meets every statement more often than once."""
    Ledger(postgres_url).upgrade()
    with bouncer(postgres_url) as pooled:

        def receive(worker: int) -> None:
            with Ledger(pooled) as ledger:
                assert ledger.ready().version()
                for number in range(30):
                    now = datetime.now(UTC)
                    store_receipts(ledger, (ACCOUNT,), [receipt(worker * 100 + number)], {}, now, {})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(receive, range(8)))
    with Ledger(postgres_url) as ledger, ledger.read() as connection:
        assert connection.execute(select(func.count()).select_from(deliveries)).scalar_one() == 240


@pytest.fixture(params=["SQL_ASCII", "LATIN1", "EUC_JP"])
def other_encoding(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[str]:
    name = f"porting_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{request.param}' LOCALE 'C'")
        yield normalise(postgres_server).set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_database_that_cannot_keep_every_text_is_refused_in_one_sentence(
    other_encoding: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the upgrade, at every start, and through a pooler."""
    monkeypatch.setenv(LEDGER_URL, other_encoding)
    for command in ("upgrade", "status"):
        assert main([command]) == 1
        said = capsys.readouterr().err
        assert "ENCODING 'UTF8'" in said
        assert said.count("\n") == 1
    with pytest.raises(LedgerError, match="has the encoding"):
        Ledger(other_encoding).ready()


def test_a_pooler_hides_no_encoding(other_encoding: str) -> None:
    with bouncer(other_encoding) as pooled, pytest.raises(LedgerError, match="has the encoding"):
        Ledger(pooled).ready()


def test_the_encoding_of_a_terminal_changes_nothing(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with Ledger(postgres_url) as ledger:
        ledger.upgrade()
        with ledger.write() as connection:
            assert connection.execute(select(func.upper("Łódź-2"))).scalar_one()
        with ledger.read() as connection:
            assert connection.execute(text("SHOW client_encoding")).scalar_one() == "UTF8"


@pytest.mark.parametrize(
    ("option", "value", "refusal"),
    [
        ("channel_binding", "require", "channel binding"),
        ("sslmode", "require", "SSL"),
        ("require_auth", "md5", "authentication"),
        ("service", "nobody-wrote-it", "nobody-wrote-it"),
        ("passfile", "/nowhere", None),
        ("application_name", "port-in desk", None),
    ],
)
def test_what_a_url_says_of_the_connection_is_done(
    postgres_url: str, option: str, value: str, refusal: str | None
) -> None:
    """A server without TLS: what asks for more is refused, and not connected all the same."""
    with Ledger(normalise(postgres_url).update_query_dict({option: value})) as ledger:
        if refusal is None:
            with ledger.read() as connection:
                name = connection.execute(text("SELECT current_setting('application_name')")).scalar_one()
            assert name == (value if option == "application_name" else "")
        else:
            with pytest.raises(LedgerError, match=refusal):
                ledger.version()


def test_a_secret_option_is_shown_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    address = "postgresql://me@127.0.0.1:1/p?sslpassword=hunter2&connect_timeout=1"
    with pytest.raises(LedgerError) as caught:
        Ledger(address).version()
    assert "hunter2" not in str(caught.value)
    assert main(["--ledger", address, "status"]) == 1
    said = capsys.readouterr().err
    assert "a URL without password" in said
    assert "hunter2" not in said
