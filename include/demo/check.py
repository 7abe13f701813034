"""Compare what the watch found with what is true in the simulated world."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from telnyx_porting.ledger import tables

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

Json = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Truth and found under the same keys: sets of ids, shown as counts."""

    truth: dict[str, frozenset[str]]
    found: dict[str, frozenset[str]]
    wrong: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether everything is equal, id by id, and nothing happened twice."""
        return self.truth == self.found and not self.wrong


def compare(ledger: Ledger, account: str, truth: Json, letters: list[Json], republish_log: Json) -> Comparison:
    """Build the comparison.

    :param truth: the sandbox's ``/sandbox/truth``.
    :param letters: the alert messages that reached the inbox.
    :param republish_log: event id -> how often its republish was requested, as the sandbox counted.
    """
    exceptions = frozenset(f"{row['order_id']}:{row['kind']}" for row in truth["exceptions"])
    undeliverable = frozenset(truth["undeliverable"])
    republishable = frozenset(truth["republishable"])
    real = {
        "events": frozenset([str(truth["events"])]),
        "orders": frozenset([str(truth["orders"])]),
        "stuck": frozenset(truth["stuck"]),
        "exceptions": exceptions,
        "missed": frozenset(truth["missed"]),
        "left_alone": frozenset(truth["missed"]) - republishable,
        "republished": republishable,
        "arrived": republishable - undeliverable,
        "not_arrived": republishable & undeliverable,
        "ambiguous": frozenset(),
        "alerts": frozenset(truth["stuck"]) | exceptions,
    }
    told, wrong = _told(letters)
    with ledger.read() as connection:
        found = _found(connection, account)
    found["alerts"] = told
    wrong += [f"event {event} was republished {times} times" for event, times in republish_log.items() if times != 1]
    wrong += [f"event {event} was republished, not by us" for event in set(republish_log) - found["republished"]]
    return Comparison(real, found, tuple(wrong))


def row_counts(ledger: Ledger) -> dict[str, int]:
    """How many rows each table holds; feeds and windows grow with every look, the others must not."""
    names = ("events", "deliveries", "plans", "republishes", "findings", "alerts")
    with ledger.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(getattr(tables, name))).scalar_one()
            for name in names
        }


def _found(connection: Connection, account: str) -> dict[str, frozenset[str]]:
    events, findings, republishes, webhooks = tables.events, tables.findings, tables.republishes, tables.deliveries

    def ids(column: Any, *conditions: Any) -> frozenset[str]:
        return frozenset(connection.execute(select(column).where(*conditions)).scalars())

    def count(table: Any, *conditions: Any) -> frozenset[str]:
        query = select(func.count()).select_from(table).where(table.c.account == account, *conditions)
        return frozenset([str(connection.execute(query).scalar_one())])

    mine, sent = events.c.account == account, republishes.c.account == account
    is_open = (findings.c.account == account, findings.c.resolved_at.is_(None))
    open_exceptions = connection.execute(
        select(findings.c.order_id, findings.c.detail).where(*is_open, findings.c.kind == "exception")
    ).all()
    left_alone = ids(events.c.id, mine, events.c.delivery.in_(("missed", "given_up")), events.c.sends == 0)
    planned = ids(republishes.c.event_id, sent)
    return {
        "events": count(events),
        "orders": count(tables.orders, tables.orders.c.status != "deleted"),
        "stuck": ids(findings.c.subject, *is_open, findings.c.kind == "stuck"),
        "exceptions": frozenset(_exception(row.order_id, row.detail) for row in open_exceptions),
        "missed": left_alone | planned,
        "left_alone": left_alone,
        "republished": ids(republishes.c.event_id, sent, republishes.c.n.is_not(None)),
        "arrived": ids(republishes.c.event_id, sent, republishes.c.state == "arrived"),
        "not_arrived": ids(republishes.c.event_id, sent, republishes.c.state == "not_arrived"),
        "ambiguous": ids(webhooks.c.source_id, webhooks.c.account == account, webhooks.c.matched == "ambiguous"),
    }


def _exception(order_id: str | None, detail: Json) -> str:
    return f"{order_id}:{'messaging' if detail.get('messaging') else 'voice'}"


def _told(letters: list[Json]) -> tuple[frozenset[str], list[str]]:
    """What people have been told and not told to be over; and what they were told twice."""
    fired: Counter[tuple[str, int]] = Counter()
    subjects: dict[tuple[str, int], str] = {}
    over: set[tuple[str, int]] = set()
    for letter in letters:
        message = letter["body"]
        for finding in message["findings"]:
            if finding["kind"] not in ("stuck", "exception"):
                continue
            occurrence = (finding["key"], finding["occurrence"])
            if message["action"] == "firing":
                fired[occurrence] += 1
                stuck = finding["kind"] == "stuck"
                subjects[occurrence] = (
                    finding["subject"] if stuck else _exception(finding["order_id"], finding["detail"])
                )
            elif message["action"] == "resolved":
                over.add(occurrence)
    wrong = [
        f"{key} (occurrence {occurrence}) was told {times} times"
        for (key, occurrence), times in fired.items()
        if times > 1
    ]
    return frozenset(subject for occurrence, subject in subjects.items() if occurrence not in over), wrong
