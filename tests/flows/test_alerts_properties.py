"""Random histories of orders, crashes and failing channels: what people are told stays true, and is told once."""

from __future__ import annotations

import contextlib
import uuid
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.channels import ChannelError
from telnyx_porting.flows.alerts.dispatch import LEASE
from telnyx_porting.flows.alerts.send import send_due
from tests.support.watched import Watched, order_id, quick

if TYPE_CHECKING:
    from telnyx_porting.flows.alerts.channels import Channel, Message
    from telnyx_porting.ledger.engine import Ledger


class Killed(BaseException):
    """The worker was killed at this very point."""


CHANGES = ("exception:OTHER", "exception:LSR_PENDING", "submitted:", "nothing")
MODES = ("well", "well", "well", "meanwhile", "killed before", "killed after", "refused", "lost")
STEPS = st.lists(
    st.tuples(st.integers(1, 2), st.sampled_from(CHANGES), st.sampled_from([0, 1, 3, 16, 60]), st.sampled_from(MODES)),
    min_size=2,
    max_size=14,
)


class World:
    """A watched account whose channel may refuse, lose or take a message, and whose worker may die."""

    def __init__(self, ledger: Ledger, wait: int, hold: int, interval: int) -> None:
        knobs = quick(
            group_wait=timedelta(minutes=wait),
            resolve_hold=timedelta(minutes=hold),
            group_interval=timedelta(minutes=interval),
            remind_critical=timedelta(0),
            remind_high_days=0,
        )
        self.watched = Watched(ledger, knobs, account=f"account-{uuid.uuid4().hex}")
        self.watched.cycle()
        self.statuses: dict[int, tuple[str, str]] = {}
        self.unclear: set[str] = set()  # messages of which the sender cannot know whether they arrived
        self.never: set[tuple[str, int]] = set()  # turns whose message was claimed by a sender that died before sending
        self.mode = "well"

    def send(self, channel: Channel, message: Message) -> None:
        if self.mode == "killed before":
            self.never |= {(entry["key"], entry["occurrence"]) for entry in message.findings}
            raise Killed
        if self.mode == "refused":
            raise ChannelError("refused", not_sent=True)
        self.watched.sent.append((channel.name, message))
        if self.mode == "meanwhile":  # the world moves on, and another look sees it, while this message is under way
            self.mode = "well"
            status, code = self.statuses.get(1, ("submitted", ""))
            self.status(1, "submitted" if status == "exception" else "exception", "" if code else "OTHER")
            self.watched.look()
        if self.mode == "killed after":
            self.unclear.add(message.dedup_key)
            raise Killed
        if self.mode == "lost":
            self.unclear.add(message.dedup_key)
            raise ChannelError("time-out", not_sent=False)

    def status(self, order: int, status: str, code: str) -> None:
        self.watched.later(seconds=1)
        self.watched.status(order, status, *[code] if code else [])
        self.statuses[order] = (status, code)

    def cycle(self, mode: str) -> None:
        self.mode = mode
        self.watched.later(seconds=1)
        self.watched.look()
        watched = self.watched
        with contextlib.suppress(Killed):
            send_due(Account(watched.ledger, watched.account, watched.settings, lambda: watched.now), self.send)

    def settle(self) -> None:
        """Let everything that is owed be told."""
        for _ in range(6):
            self.watched.later(seconds=max(LEASE.total_seconds(), 20 * 60) + 1)
            self.cycle("well")

    def check(self) -> None:
        told: dict[tuple[str, int], list[tuple[str, str, Any]]] = defaultdict(list)
        seen: dict[tuple[str, str, int], set[str]] = defaultdict(set)
        for _, message in self.watched.sent:
            for entry in message.findings:
                if entry["kind"] != "exception":
                    continue
                turn = (entry["key"], entry["occurrence"])
                told[turn].append((message.action, message.dedup_key, entry["detail"]))
                seen[(message.action, *turn)].add(message.dedup_key)
        for turn, messages in told.items():
            firing, resolved = seen[("firing", *turn)], seen[("resolved", *turn)]
            assert len(firing) <= 1, f"{turn} was told under two keys"
            assert len(resolved) <= 1, f"{turn} was resolved under two keys"
            for key in firing | resolved:
                times = sum(dedup == key for _, dedup, _ in messages)
                assert times == 1 or key in self.unclear, f"{turn} was told {times} times, and nothing had failed"
            if resolved and not firing:
                assert turn in self.never, f"{turn} was resolved where it was never told"
            if resolved:
                assert messages[-1][0] == "resolved", f"{turn} spoke after it was over"
        for order, (status, code) in self.statuses.items():
            self.last_state_is_told(f"exception:{order_id(order)}", status, code, told)

    def last_state_is_told(self, key: str, status: str, code: str, told: dict[tuple[str, int], Any]) -> None:
        turns = sorted(turn for turn in told if turn[0] == key)
        for turn in turns[: -1 if status == "exception" else None]:
            assert any(action == "resolved" for action, _, _ in told[turn]), f"{turn} was never taken back"
        if status == "exception":
            assert turns, f"{key} is in exception and nobody was told"
            action, _, detail = told[turns[-1]][-1]
            assert action != "resolved"
            assert detail["codes"][0]["code"] == code, "the reason people were told last is not the present one"


def run(ledger: Ledger, knobs: tuple[int, int, int], steps: list[tuple[Any, ...]]) -> None:
    world = World(ledger, *knobs)
    for order, change, minutes, mode in steps:
        status, _, code = change.partition(":")
        if status != "nothing":
            world.status(order, status, code)
        world.watched.later(minutes=minutes)
        world.cycle(mode)
    world.settle()
    world.check()


KNOBS = st.tuples(st.sampled_from([0, 2]), st.sampled_from([0, 10]), st.sampled_from([0, 15]))
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@settings(max_examples=20, suppress_health_check=QUIET)
@given(knobs=KNOBS, steps=STEPS)
def test_what_is_told_is_true_and_told_once(ledger: Ledger, knobs: tuple[int, int, int], steps: Any) -> None:
    run(ledger, knobs, steps)


@pytest.mark.postgres
@pytest.mark.parametrize("ledger", ["postgres"], indirect=True)
@settings(max_examples=5, suppress_health_check=QUIET)
@given(knobs=KNOBS, steps=STEPS)
def test_what_is_told_is_true_and_told_once_on_postgres(
    ledger: Ledger, knobs: tuple[int, int, int], steps: Any
) -> None:
    run(ledger, knobs, steps)
