"""Random histories: nothing is missing, or a window is open and says why."""

from __future__ import annotations

import os
import random
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.errors import TelnyxError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.events.audit import audit
from telnyx_porting.ledger.engine import Ledger
from tests.support.provider import ACCOUNT, HOUR, MINUTE, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = int(os.environ.get("CHAOS_HISTORIES", "1000"))

SWITCHES = st.fixed_dictionaries(
    {},
    optional={
        "event_order": st.sampled_from(["created_at", "-created_at"]),
        "tie_order": st.just("unstable"),
        "created_at_bounds": st.sampled_from(["exclusive", "truncated"]),
        "list_meta": st.sampled_from(["no_totals", "absent"]),
        "page_past_end": st.just("refused"),
        "totals_cap": st.integers(3, 30),
        "list_growth": st.sampled_from(["on", "behind"]),
    },
)
FAULTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["status", "reset", "truncated_json", "truncated_body", "empty_body", "html"]),
        "times": st.integers(1, 8),
        "skip": st.integers(0, 3),
        "status": st.sampled_from([429, 500, 503]),
    }
)
STEP = st.one_of(
    st.tuples(st.just("new"), st.lists(st.integers(0, 280), min_size=1, max_size=12)),
    st.tuples(st.just("burst"), st.integers(2, 40)),
    st.tuples(st.just("late"), st.lists(st.integers(1, 58), min_size=1, max_size=4)),
    st.tuples(st.just("far late"), st.lists(st.integers(2, 40), min_size=1, max_size=3)),
    st.tuples(st.just("unfinished"), st.integers(1, 4)),
    st.tuples(st.just("complete"), st.integers(1, 4)),
    st.tuples(st.just("switches"), SWITCHES),
    st.tuples(st.just("fault"), FAULTS),
)
HISTORY = st.lists(st.tuples(st.lists(STEP, max_size=3), st.sampled_from([5, 5, 5, 15, 60])), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    ledger = Ledger(f"sqlite:///{path}")
    ledger.upgrade()
    ledger.close()
    return path


class History:
    """Lives through one history, scanning as it goes."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.unfinished: list[str] = []
        self.far_late: set[str] = set()

    def live(self, history: list[tuple[list[tuple[str, Any]], int]]) -> None:
        provider = self.provider
        self.scan(5)
        for steps, minutes in history:
            provider.sandbox.clock(now=provider.now.isoformat(), frozen=True)
            for kind, what in steps:
                self.step(kind, what)
            self.scan(minutes)

    def step(self, kind: str, what: Any) -> None:
        provider = self.provider
        match kind:
            case "new":
                provider.event(*[-timedelta(seconds=age) for age in what])
            case "burst":
                provider.event(*[-MINUTE] * what)
            case "late":
                provider.event(*[age * MINUTE for age in what])
            case "far late":
                self.far_late.update(provider.event(*[age * HOUR for age in what]))
            case "unfinished":
                self.unfinished += provider.event(
                    *[-MINUTE - timedelta(seconds=n) for n in range(what)], completed=False
                )
            case "complete":
                for event_id in self.unfinished[:what]:
                    provider.sandbox.complete(event_id)
                del self.unfinished[:what]
            case "switches":
                provider.sandbox.control("DELETE", "/switches")
                provider.sandbox.switches(**what)
            case "fault":
                provider.sandbox.fault(path="/v2/porting/events*", **what)

    def scan(self, minutes: int) -> None:
        try:
            self.provider.scan(after=minutes * MINUTE)
        except TelnyxError:
            assert all(self.provider.open_windows()), "an open window says why"
            assert self.provider.open_windows() or not self.provider.feed(), "a failed scan leaves its window open"

    def check(self) -> None:
        provider = self.provider
        provider.sandbox.control("DELETE", "/switches")
        provider.sandbox.clear_faults()
        provider.scan(after=10 * MINUTE)
        truth, held = provider.truth(), provider.held()
        # What a list that grew while it was read put a microsecond before a row, at whole seconds, may be late by any
        # time; and what it made last is completed while we look.
        grown = {i for i, (at, done) in truth.items() if at.microsecond > 999_000 or not done} - set(self.unfinished)
        feed = provider.feed()
        covered = {i for i, (at, _) in truth.items() if feed["covers_from"] <= at <= feed["covered_until"]}
        missing = covered - held.keys() - self.far_late - grown
        assert not missing, f"{len(missing)} of {len(covered)} missing"
        assert all(truth[i] == held[i] for i in held if i in truth and i not in grown), "forwards only, and up to date"
        assert provider.open_windows() == []
        # What came later than any overlap is what the audit is for.
        with provider.client() as client:
            result = audit(Account(provider.ledger, ACCOUNT, provider.settings, lambda: provider.now), client)
            assert result.open_reason is None
            audit(Account(provider.ledger, ACCOUNT, provider.settings, lambda: provider.now), client, by_ids=True)
        assert covered <= provider.held().keys()
        provider.check_seals()


def live_through(sandbox: RunningSandbox, template: Path, folder: Path, history: Any) -> None:
    note(f"{history}")
    path = folder / f"{random.getrandbits(64):x}.db"
    shutil.copyfile(template, path)
    ledger = Ledger(f"sqlite:///{path}")
    try:
        past = History(Provider(sandbox, ledger))
        past.live(history)
        past.check()
    finally:
        ledger.close()
        for each in folder.glob(f"{path.name}*"):
            each.unlink()


CALM = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


@settings(max_examples=15, deadline=None, suppress_health_check=CALM)
@given(history=HISTORY)
def test_nothing_is_missing_or_a_window_says_why(
    sandbox: RunningSandbox, template: Path, tmp_path: Path, history: Any
) -> None:
    live_through(sandbox, template, tmp_path, history)


@pytest.mark.chaos
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=CALM)
@given(history=HISTORY)
def test_nothing_is_missing_or_a_window_says_why_in_a_thousand_histories(
    sandbox: RunningSandbox, template: Path, tmp_path: Path, history: Any
) -> None:
    live_through(sandbox, template, tmp_path, history)
