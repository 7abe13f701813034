"""What people get wrong: one sentence that names the field, the value and what would be right; nothing half stored."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.client import TelnyxClient
from telnyx_porting.errors import AuthenticationError, ConnectError, LedgerError, NotSentError, PlanError, SettingsError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.flows.republish.plan import make_plan
from telnyx_porting.flows.republish.selection import Asked, select_ids
from telnyx_porting.flows.subscriptions import Destinations
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import events, plans, republishes
from telnyx_porting.settings import load
from tests.support.rows import ACCOUNT, NOW, add_event, add_feed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Table

    from tests.support.ledgers import OpenLedger

SETTINGS = load(environ={"TELNYX_PORTING_SETTLE": "0"})


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox("volume", events=300) as running:
        yield running


def rows(ledger: Ledger, table: Table) -> int:
    with ledger.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_wrong_key_stores_nothing(ledger: Ledger, sandbox: RunningSandbox) -> None:
    with TelnyxClient("KEY_OF_SOMEBODY_ELSE", sandbox.base_url) as client, pytest.raises(AuthenticationError) as caught:
        scan(Account(ledger, ACCOUNT, SETTINGS), client)
    assert "401" in str(caught.value)
    assert "KEY_OF_SOMEBODY_ELSE" not in repr(caught.value) + str(caught.value)
    assert rows(ledger, events) == 0


def test_an_unreachable_host_stores_nothing(ledger: Ledger) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v2"
        soon = datetime.now(UTC) + timedelta(seconds=1)
        with TelnyxClient("KEY", url) as client, pytest.raises((ConnectError, NotSentError)) as caught:
            client.republish_porting_event("5796a670-482c-490e-8d97-82bfcdc83011", send_by=soon)
    assert caught.value.not_processed
    assert rows(ledger, events) == 0


def test_another_provider_behind_the_same_connection_is_refused(ledger: Ledger, sandbox: RunningSandbox) -> None:
    with TelnyxClient(sandbox.api_key, sandbox.base_url) as client:
        scan(Account(ledger, ACCOUNT, SETTINGS), client)
    before = rows(ledger, events)
    with (
        running_sandbox("volume", events=50, seed=9) as other,
        TelnyxClient(other.api_key, other.base_url) as client,
        pytest.raises(LedgerError, match=f"{ACCOUNT}.*first seen at {sandbox.base_url}.*{other.base_url}"),
    ):
        scan(Account(ledger, ACCOUNT, SETTINGS), client)
    assert rows(ledger, events) == before


def test_a_malformed_id_and_an_unknown_type_never_reach_the_wire(sandbox: RunningSandbox) -> None:
    sandbox.forget_requests()
    with TelnyxClient(sandbox.api_key, sandbox.base_url) as client:
        with pytest.raises(SettingsError, match=r"event_id = '\.\./porting_orders'.*UUID"):
            client.get_porting_event("../porting_orders")
        with pytest.raises(SettingsError, match="event_type = 'porting_order.lost'.*porting_order.deleted"):
            list(client.iter_porting_events(event_type="porting_order.lost"))
        later = datetime.now(UTC)
        with pytest.raises(SettingsError, match="created_at"):
            list(client.iter_porting_events(later, later - timedelta(days=1)))
        with pytest.raises(SettingsError, match="created_at"):
            list(client.iter_porting_events(datetime(2026, 1, 1)))
    assert sandbox.requests()["total"] == 0


def test_an_unwritable_ledger_is_named(tmp_path: Path, open_ledger: OpenLedger) -> None:
    path = tmp_path / "no" / "such" / "folder" / "ledger.db"
    with pytest.raises(LedgerError, match=str(path)):
        open_ledger(path).ready()


def test_a_ledger_of_a_newer_version_says_to_update(ledger: Ledger) -> None:
    from sqlalchemy import text

    with ledger.write() as connection:
        connection.execute(text("UPDATE porting_ledger_version SET version_num = '9999'"))
    with pytest.raises(LedgerError, match="9999.*newer.*update the package"):
        ledger.ready()


def test_a_password_never_shows(tmp_path: Path) -> None:
    ledger = Ledger("postgresql://watch:s3cr3t-word@127.0.0.1:1/nowhere")
    assert "s3cr3t-word" not in repr(ledger)
    with pytest.raises(LedgerError) as caught:
        ledger.version()
    assert "s3cr3t-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "consents", "sentence"),
    [
        ({"delivery": "arrived", "arrived_at": NOW}, (), "is arrived; sending it needs the consent 'arrived'"),
        ({"delivery": "given_up"}, (), "needs the consent 'given_up'"),
        ({"type": "porting_order.deleted", "delivery": "missed"}, (), "needs the consent 'deleted'"),
        ({"delivery": "not_expected", "has_webhook": False}, (), "needs the consent 'email_only'"),
        ({"payload_status": "created"}, (), "has no payload yet"),
        ({"delivery": "missed"}, ("everything",), "consents.*everything.*expected some of"),
    ],
)
def test_a_person_cannot_send_by_accident(
    ledger: Ledger, given: dict[str, object], consents: tuple[str, ...], sentence: str
) -> None:
    add_feed(ledger)
    event = add_event(ledger, **given)
    with pytest.raises(PlanError, match=sentence):
        make_plan(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW), Destinations(), Asked([event], consents))
    assert rows(ledger, plans) == rows(ledger, republishes) == 0


def test_ids_that_are_not_held_and_ranges_that_cannot_be(ledger: Ledger) -> None:
    unknown = "5796a670-482c-490e-8d97-82bfcdc83011"
    with pytest.raises(PlanError, match=f"{unknown}.*not in the ledger"):
        make_plan(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW), Destinations(), Asked([unknown]))
    with pytest.raises(PlanError, match="expected from <= to"):
        select_ids(Account(ledger, ACCOUNT), event_type="porting_order.split", since=NOW, until=NOW - timedelta(days=1))
    with pytest.raises(PlanError, match="time range"):
        select_ids(Account(ledger, ACCOUNT), event_type="porting_order.split")
