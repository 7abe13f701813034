"""The closed loop while clocks differ by minutes: everything lost is sent once and arrives, and the clocks are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telnyx_porting.client import TelnyxClient
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.republish.advance import Done, Wait, advance
from telnyx_porting.flows.republish.gates import approve
from tests.scenarios.clock import Shifted
from tests.scenarios.loop import MINUTE, loop
from tests.scenarios.outages import down
from tests.scenarios.story import got
from tests.support.rows import ACCOUNT

if TYPE_CHECKING:
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox


@pytest.mark.parametrize(
    ("provider", "receiver", "count"),
    [
        (-240, -480, 25),
        pytest.param(-240, -480, 100, marks=pytest.mark.chaos),
        (240, 480, 5),
        *(
            pytest.param(*few, 5, marks=pytest.mark.sampled)
            for few in [(240, 0), (-240, 0), (0, -130), (0, 240), (0, -240)]
        ),
    ],
)
def test_the_loop_closes_whatever_the_clocks_say(
    sandbox: RunningSandbox, tmp_path: Path, provider: float, receiver: float, count: int
) -> None:
    """Seconds ahead of ours. The first: the receiver is four minutes behind, and we are as much ahead."""
    with loop(sandbox, tmp_path) as world:
        world.skew(provider=provider, receiver=receiver)
        world.begin()
        down(world, count)
        world.jump(25 * MINUTE)
        world.cycle()
        assert got(world) == f"{count} sends, {count} arrived"
        assert world.told("clock_skew")
        assert world.told("receiver") is None


@pytest.mark.parametrize(
    ("skew", "receiver"),
    [
        (-240.0, 240.0),
        *(
            pytest.param(*both, marks=pytest.mark.sampled)
            for both in [(240.0, -240.0), (-240.0, -240.0), (240.0, 240.0)]
        ),
    ],
)
def test_another_machine_whose_clock_is_wrong_executes_a_plan(
    sandbox: RunningSandbox, tmp_path: Path, skew: float, receiver: float
) -> None:
    """Nobody but itself was told its time: it takes the plan over from machines whose clock is right."""
    with loop(sandbox, tmp_path) as world:
        world.skew(receiver=receiver)
        world.begin()
        lost = down(world, 20)
        world.jump(25 * MINUTE)
        world.look()
        plan = world.plan()
        assert plan is not None
        approve(Account(world.ledger, ACCOUNT, clock=lambda: world.clock.now()), plan.id, plan.hash, "ann")
        theirs = Shifted(world.clock_file, skew)
        with TelnyxClient(sandbox.api_key, sandbox.base_url, clock=theirs) as client:
            for _ in range(100):
                step = advance(Account(world.ledger, ACCOUNT, world.settings, clock=theirs.now), client, plan.id)
                if not isinstance(step, Wait):
                    break
                pause = (step.until - theirs.now()).total_seconds()
                assert pause <= 31, "it waits by its own clock"
                world.jump(pause)
        theirs.close()
        assert isinstance(step, Done)
        assert world.asked() == dict.fromkeys(lost, 1)
        assert world.verdicts() == {"arrived": len(lost)}
