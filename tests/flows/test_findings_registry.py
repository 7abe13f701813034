"""The registry of kinds: what it needs to hold, and findings that are in no kind of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import insert

from telnyx_porting.flows.findings.kinds import KINDS
from telnyx_porting.flows.findings.reconcile import open_findings
from telnyx_porting.ledger.tables import findings
from tests.support.watched import Watched, order_id, quick

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger


def test_every_kind_stands_behind_those_it_hangs_on_and_no_two_are_about_the_same() -> None:
    before: set[str] = set()
    for kind in KINDS:
        assert before >= set(kind.hangs_on), kind.name
        before.add(kind.name)
    about = Counter((kind.name, subject) for kind in KINDS for subject in kind.subjects or {""})
    assert set(about.values()) == {1}


def test_a_finding_of_another_versions_kind_stops_no_other_and_ends(ledger: Ledger) -> None:
    watched = Watched(ledger, quick())
    watched.cycle()
    row = {"account": watched.account, "key": "fax:1", "kind": "fax", "subject": "1", "severity": "high", "detail": {}}
    with ledger.write() as connection:
        connection.execute(insert(findings).values(**row, since=watched.now, opened_at=watched.now))
    watched.status(1, "exception", "OTHER")
    watched.cycle()
    assert f"exception:{order_id(1)}" in {key for _, key, _ in watched.told()}
    with ledger.read() as connection:
        assert "fax:1" not in {row["key"] for row in open_findings(connection, watched.account)}
