"""kill -9 at every commit and every request of scan, order sync, backfill, audit and maintenance."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, insert, select, update

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.ledger.tables import events, feeds, metadata, orders
from tests.support.provider import ACCOUNT, DAY, HOUR, MINUTE, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.ledger.engine import Ledger

FLOWS = ("scan", "orders", "backfill", "audit", "maintain")
KNOBS: dict[str, Any] = {"first_look_days": 2, "retention_days": 3, "audit_nights": 3, "requests_per_second": 1000}
SEED = int(os.environ.get("CHAOS_SEED", "7"))
KILLS_AT_EACH_EDGE = int(os.environ.get("CHAOS_KILLS", "5"))
RANDOM_KILLS = 20  # of each flow: 100 in all, on each database


class Nursery:
    """Runs a flow in a process that can be killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def send(self, provider: Provider, flow: str, **job: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        url = provider.ledger.url.render_as_string(hide_password=False)
        common = {"ledger": url, "flow": flow, "now": provider.now.isoformat(), "days": 9, "settings": KNOBS}
        common |= {"key": provider.sandbox.api_key, "base_url": provider.sandbox.base_url}
        self._process.stdin.write(json.dumps(common | job) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    command = [sys.executable, "-m", "tests.chaos.ledger_worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Nursery(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


class Stage:
    """A ledger that is always in the state in which a flow has something to do at every edge."""

    def __init__(self, sandbox: RunningSandbox, ledger: Ledger, nursery: Nursery) -> None:
        self.nursery = nursery
        self.provider = Provider(sandbox, ledger, **KNOBS)
        provider = self.provider
        # History of nine days, some of it denser than a chunk; a few events late, unfinished, or lost by the ledger.
        ages = [2 * HOUR + n * 3 * HOUR for n in range(66)]
        ages += [4 * DAY + n * timedelta(seconds=7) for n in range(150)]
        self.ids = provider.event(*ages)
        provider.event(30 * HOUR, 31 * HOUR, completed=False)
        for flow in ("scan", "orders"):
            self.well(flow)
        provider.now += 20 * MINUTE
        self.late = provider.event(MINUTE, 2 * MINUTE, 50 * MINUTE)
        self.backup = self._dump()
        self.well("backfill")
        with ledger.write() as connection:
            connection.execute(delete(events).where(events.c.id.in_(self.ids[90:94])))
            connection.execute(update(events).values(delivery="undetermined"))
        self.full = self._dump()
        truth = provider.truth()
        provider.truth = lambda: truth  # type: ignore[method-assign]

    def well(self, flow: str, **job: Any) -> dict[str, int]:
        answer = self.nursery.send(self.provider, flow, **job)
        assert answer["ended"] == "well", answer
        edges: dict[str, int] = answer["edges"]
        return edges

    def set(self, flow: str) -> None:
        """Put the ledger back: before the backfill, or after it."""
        dump = self.full if flow in ("audit", "maintain") else self.backup
        with self.provider.ledger.write() as connection:
            for table in metadata.sorted_tables:
                connection.execute(delete(table))
                for start in range(0, len(dump[table.name]), 500):
                    connection.execute(insert(table), dump[table.name][start : start + 500])

    def check(self, flow: str, what: str) -> None:
        """What is vouched for right after the kill is true; a normal run ends with ledger = provider."""
        try:
            if flow in ("scan", "backfill"):
                self.provider.check_seals(self.late)
            self.well(flow)
            if flow in ("scan", "backfill", "audit"):
                self.well("scan")
                self.well("backfill")
                assert self.provider.held() == self.provider.truth()
                self.provider.check_seals()
                assert self.provider.open_windows() == []
            elif flow == "orders":
                with self.provider.ledger.read() as connection:
                    held = (
                        connection.execute(select(orders.c.id).where(orders.c.api_read_at.is_not(None))).scalars().all()
                    )
                assert held == [self.provider.order]
            else:
                with self.provider.ledger.read() as connection:
                    old = events.c.created_at < self.provider.now - 3 * DAY
                    left = connection.execute(select(events.c.id).where(old, events.c.payload.is_not(None))).all()
                assert left == []
        except AssertionError as error:
            raise AssertionError(f"after {flow} was killed {what} (seed {SEED}): {error}") from error

    def _dump(self) -> dict[str, list[dict[str, Any]]]:
        with self.provider.ledger.read() as connection:
            return {t.name: [dict(r) for r in connection.execute(select(t)).mappings()] for t in metadata.sorted_tables}


@pytest.fixture
def stage(sandbox: RunningSandbox, ledger: Ledger, nursery: Nursery) -> Stage:
    return Stage(sandbox, ledger, nursery)


def edges_of(stage: Stage, flow: str) -> dict[str, int]:
    stage.set(flow)
    return stage.well(flow)


@pytest.mark.chaos
@pytest.mark.parametrize("flow", FLOWS)
def test_killed_at_every_edge(stage: Stage, flow: str) -> None:
    edges = edges_of(stage, flow)
    assert any(edge.endswith(":committed") for edge in edges)
    kills = dict.fromkeys(edges, 0)
    for edge, passed in edges.items():
        for n in range(3 * KILLS_AT_EACH_EDGE):
            stage.set(flow)
            # With two requests at a time an edge may be passed less often than it was; the first time is sure to come.
            at = f"{edge}@{1 + n % passed if n < KILLS_AT_EACH_EDGE else 1}"
            answer = stage.nursery.send(stage.provider, flow, kill_at=at)
            assert answer["ended"] in ("killed", "well"), (at, answer)
            kills[edge] += answer["ended"] == "killed"
            stage.check(flow, f"at {at}")
            if kills[edge] == KILLS_AT_EACH_EDGE:
                break
    assert {edge: n for edge, n in kills.items() if n < KILLS_AT_EACH_EDGE} == {}


@pytest.mark.chaos
@pytest.mark.parametrize("flow", FLOWS)
def test_killed_at_random(stage: Stage, flow: str) -> None:
    stage.set(flow)
    lasts = stage.nursery.send(stage.provider, flow)["seconds"]
    for n in range(RANDOM_KILLS):
        stage.set(flow)
        seed = zlib.crc32(f"{SEED}{flow}{n}".encode())
        answer = stage.nursery.send(stage.provider, flow, kill_after=lasts, seed=seed)
        assert answer["ended"] in ("killed", "well"), answer
        stage.check(flow, f"at random, {n}")


def test_killed_at_some_edges(stage: Stage) -> None:
    """A sample of the above for every change."""
    chosen = random.Random(SEED)
    for flow in chosen.sample(FLOWS, 2):
        edges = edges_of(stage, flow)
        edge = chosen.choice(sorted(edges))
        stage.set(flow)
        stage.nursery.send(stage.provider, flow, kill_at=edge)
        stage.check(flow, f"at {edge}")


def test_the_feed_survives_a_kill_before_the_first_window(stage: Stage) -> None:
    stage.set("scan")
    stage.nursery.send(stage.provider, "scan", kill_at="GET /v2/porting/events:send")
    with stage.provider.ledger.read() as connection:
        row = connection.execute(select(feeds).where(feeds.c.account == ACCOUNT, feeds.c.source == "events")).one()
    assert row.covered_until is not None
    assert stage.provider.open_windows() == ["not finished"]
    stage.check("scan", "before its first window")
