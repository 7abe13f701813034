"""What goes, what stays, and that the file gives its space back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, update

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.maintenance import maintain
from telnyx_porting.flows.desk.status import status
from telnyx_porting.flows.findings.health import health
from telnyx_porting.ledger.tables import events, findings, windows
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT, NOW, add_event

if TYPE_CHECKING:
    from pathlib import Path

    from telnyx_porting.ledger.engine import Ledger
    from tests.support.ledgers import OpenLedger

DAY = timedelta(days=1)
TEXT = {"body": "something a customer wrote " * 300}


def test_payloads_of_what_is_decided_go_and_their_facts_stay(ledger: Ledger) -> None:
    old, young = NOW - 40 * DAY, NOW - 20 * DAY
    with_state = {
        state: add_event(ledger, created_at=old, delivery=state, payload=TEXT) for state in ("arrived", "missed")
    }
    undecided, recent = (
        add_event(ledger, created_at=old, payload=TEXT),
        add_event(ledger, created_at=young, payload=TEXT),
    )
    result = maintain(Account(ledger, ACCOUNT, Settings(retention_days=30), lambda: NOW))
    assert result.payloads_removed == 1
    with ledger.read() as connection:
        rows = {row.id: row for row in connection.execute(select(events))}
    assert (rows[with_state["arrived"]].payload, rows[with_state["arrived"]].pruned) == (None, True)
    assert rows[with_state["arrived"]].natural_key
    assert all(rows[i].payload == TEXT for i in (with_state["missed"], undecided, recent))
    assert maintain(Account(ledger, ACCOUNT, Settings(retention_days=30), lambda: NOW)).payloads_removed == 0
    assert maintain(Account(ledger, ACCOUNT, Settings(), lambda: NOW + 400 * DAY)).payloads_removed == 0


def test_texts_of_findings_that_are_long_over_go(ledger: Ledger) -> None:
    for subject in ("over", "open"):
        health(Account(ledger, ACCOUNT, clock=lambda: NOW - 50 * DAY), subject, "what a person was told")
    with ledger.write() as connection:
        done = update(findings).where(findings.c.key == "health:over")
        connection.execute(done.values(resolved_at=NOW - 40 * DAY, note="a note"))
    assert maintain(Account(ledger, ACCOUNT, Settings(retention_days=30), lambda: NOW)).texts_removed == 1
    with ledger.read() as connection:
        rows = {row.key: row for row in connection.execute(select(findings))}
    assert (rows["health:over"].detail, rows["health:over"].note) == ({}, None)
    assert rows["health:open"].detail


def test_old_windows_are_merged_by_day_and_the_newest_certificates_kept(ledger: Ledger) -> None:
    def window(n: int, **given: object) -> dict[str, object]:
        until = NOW - 10 * DAY + n * timedelta(minutes=5)
        row = {"account": ACCOUNT, "id": f"w{n}", "since": until - timedelta(hours=1), "until": until}
        row |= {"made_by": "scan", "held": 1, "counted": 1, "late": 1, "requests": 2, "sealed_at": until}
        return row | {"started_at": until, "method": None} | given

    add_event(ledger, created_at=NOW - 10 * DAY)
    rows = [window(n) for n in range(12)] + [window(20 + n, made_by="audit", method="count") for n in range(3)]
    with ledger.write() as connection:
        connection.execute(windows.insert(), rows)
    assert maintain(Account(ledger, ACCOUNT, Settings(), lambda: NOW)).windows_merged == 13
    with ledger.read() as connection:
        left = {row.made_by: row for row in connection.execute(select(windows))}
        assert connection.execute(select(func.count()).select_from(windows)).scalar_one() == 2
    assert (left["scan"].held, left["scan"].counted, left["scan"].late, left["scan"].requests) == (1, 1, 12, 24)
    assert left["scan"].since == rows[0]["since"]
    assert left["scan"].until == rows[11]["until"]
    assert left["audit"].id == "w22"


@pytest.fixture
def file(tmp_path: Path, open_ledger: OpenLedger) -> Ledger:
    return open_ledger(tmp_path / "ledger.db").ready()


def test_a_file_gives_its_space_back_and_is_copied_while_in_use(file: Ledger, tmp_path: Path) -> None:
    for _ in range(800):
        add_event(file, created_at=NOW - 40 * DAY, delivery="arrived", payload=TEXT)
    target = tmp_path / "copy.db"
    result = maintain(Account(file, ACCOUNT, Settings(retention_days=30, backup_to=str(target)), lambda: NOW))
    assert result.payloads_removed == 800
    assert result.bytes_after < result.bytes_before * 0.6
    assert target.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT count(*) FROM porting_events").fetchone() == (800,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert "MiB" in status(file, NOW)
