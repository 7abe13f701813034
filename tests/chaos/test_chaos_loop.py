"""Kill, freeze and double the process that republishes: nothing is sent twice blindly, lost, or wrongly believed."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.republish.gates import approve
from telnyx_porting.flows.republish.plan import close_plan
from tests.scenarios.loop import ACCOUNT, MINUTE, Loop, loop
from tests.support.crew import Crew, crew, faults, lose, recover

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EDGES = (
    "republish.before_slot",
    "republish.before_claim",
    "republish.claim_written",
    "republish.claimed",
    "republish.posted",
    "republish.outcome_written",
    "republish.written",
    "verdicts.matched",
    "verdicts.before",
    "verdicts.decided",
    "verdicts.written",
    "plan.closed",
)
ONCE = ("plan.closed",)  # passed once in a plan's life
SAMPLE = ("republish.claimed", "republish.posted", "verdicts.written")
EVENTS = 14  # a canary, a wave of ten, and some of the rest


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def workers() -> Iterator[Crew]:
    with crew() as ready:
        yield ready


@pytest.fixture
def running(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Loop]:
    with loop(sandbox, tmp_path) as world:
        world.begin()
        yield world


def planned(world: Loop) -> str:
    plan = world.plan()
    assert plan is not None
    approve(Account(world.ledger, ACCOUNT, clock=lambda: world.clock.now()), plan.id, plan.hash, "policy")
    return plan.id


def killed_at(world: Loop, workers: Crew, edge: str, times: int) -> list[str]:
    lost = lose(world, EVENTS)
    plan = planned(world)
    (end,) = workers.send(world, plan, failpoint=f"{edge}@{times}")
    recover(world, lost, plan)
    return [f"{edge}@{times} ({end['how']}): {wrong}" for wrong in faults(world, lost)]


def killed_after(world: Loop, workers: Crew, seconds: float) -> list[str]:
    lost = lose(world, EVENTS)
    plan = planned(world)
    workers.send(world, plan, kill_after=seconds)
    recover(world, lost, plan)
    return [f"killed after {seconds:.2f} s: {wrong}" for wrong in faults(world, lost)]


def killed_as_it_counts_the_dead(world: Loop, workers: Crew) -> list[str]:
    """A worker dies with a claim; the one that counts it dies before that is written."""

    def unaccounted() -> int:
        verdicts = world.verdicts()
        return world.budget_spent() - verdicts["unknown"] - verdicts["arrived"] - verdicts["accepted"]

    lost, before = lose(world, EVENTS), unaccounted()
    plan = planned(world)
    workers.send(world, plan, failpoint=f"republish.claimed@{random.randint(1, 3)}")
    world.jump(3 * MINUTE)
    (end,) = workers.send(world, plan, failpoint="verdicts.charged")
    world.look()
    wrong = [] if end["how"] == "killed" else ["nobody died while counting"]
    if unaccounted() != before:
        wrong.append(f"{unaccounted() - before} sends too many are charged")
    recover(world, lost, plan)
    return wrong + faults(world, lost)


def test_killed_as_it_counts_the_dead(running: Loop, workers: Crew) -> None:
    assert killed_as_it_counts_the_dead(running, workers) == []


def killed_as_it_gives_back(world: Loop, workers: Crew) -> list[str]:
    """The canary is lost; the process that stops the plan, and gives the send back, dies before that is written."""
    lost = lose(world, EVENTS)
    plan = planned(world)
    world.ear.reachable = False
    workers.send(world, plan)
    world.jump(20 * MINUTE)
    (end,) = workers.send(world, plan, failpoint="republish.refunded")
    wrong = [] if end["how"] == "killed" else ["nobody died while giving back"]
    if world.budget_spent() != 1:
        wrong.append("half of it was written")
    (canary,) = world.asked()
    world.resume(plan)
    if world.budget_spent() != 0:
        wrong.append(f"{world.budget_spent()} sends charged for a consumer that was away")
    world.ear.reachable = True
    recover(world, lost, plan)
    if world.asked().pop(canary) != 2:
        wrong.append("the canary was not sent once more")
    return wrong + [each for each in faults(world, lost) if each != f"{canary} was sent 2 times"]


def test_killed_as_it_gives_back(running: Loop, workers: Crew) -> None:
    assert killed_as_it_gives_back(running, workers) == []


@pytest.mark.parametrize("edge", SAMPLE)
def test_killed_at_an_edge(running: Loop, workers: Crew, edge: str) -> None:
    times = random.randint(1, EVENTS) if edge.startswith("republish") else 3
    assert killed_at(running, workers, edge, times) == []


def frozen(world: Loop, workers: Crew, edge: str, seconds: float) -> list[str]:
    """Frozen between claim and POST, thawed when everybody else has given it up."""
    lost = lose(world, EVENTS)
    plan = planned(world)
    (end,) = workers.send(world, plan, failpoint=f"{edge}@{random.randint(1, 2)}=stop")
    assert end["how"] == "stopped"
    try:
        world.jump(seconds)
        if seconds > 2 * MINUTE:
            world.resume(plan)
        before = world.asked()
    finally:
        os.kill(end["pid"], signal.SIGCONT)
        workers.wait(end["pid"])
    late = [f"{event} was sent by a process given up for dead" for event in world.asked() - before]
    recover(world, lost, plan)
    wrong = (late if seconds > 2 * MINUTE else []) + faults(world, lost)
    return [f"{edge}, frozen {seconds:.0f} s: {each}" for each in wrong]


def test_frozen_between_claim_and_post(running: Loop, workers: Crew) -> None:
    assert frozen(running, workers, "republish.claimed", 5 * MINUTE) == []


def twins(world: Loop, workers: Crew, *skews: float) -> list[str]:
    """Two processes execute one plan at once."""
    lost = lose(world, EVENTS)
    plan = planned(world)
    ends = workers.send(world, plan, workers=[{"skew": skew} for skew in skews or (0.0, 0.0)])
    recover(world, lost, plan)
    return [f"a worker failed: {end}" for end in ends if end["code"]] + faults(world, lost)


def test_twins(running: Loop, workers: Crew) -> None:
    assert twins(running, workers) == []


@pytest.mark.chaos
@pytest.mark.parametrize("edge", EDGES)
def test_killed_five_times_at_every_edge(running: Loop, workers: Crew, edge: str) -> None:
    rounds = (1, 1, 1, 1, 1) if edge in ONCE else (1, 2, 3, 5, 12)
    assert [w for times in rounds for w in killed_at(running, workers, edge, times)] == []


@pytest.mark.chaos
def test_killed_five_times_at_rare_edges(running: Loop, workers: Crew) -> None:
    wrong = []
    for _ in range(5):
        wrong += killed_as_it_counts_the_dead(running, workers)
    assert wrong == []


@pytest.mark.chaos
@pytest.mark.parametrize("part", range(5))
def test_killed_at_random(running: Loop, workers: Crew, part: int) -> None:
    wrong = [w for _ in range(20) for w in killed_after(running, workers, random.uniform(0.0, 0.7))]
    assert wrong == []


@pytest.mark.chaos
@pytest.mark.postgres
def test_killed_at_random_on_postgres(
    sandbox: RunningSandbox, workers: Crew, tmp_path: Path, postgres_url: str
) -> None:
    with loop(sandbox, tmp_path, postgres_url) as world:
        world.begin()
        wrong = [w for _ in range(10) for w in killed_after(world, workers, random.uniform(0.0, 0.7))]
        wrong += [w for edge in EDGES for w in killed_at(world, workers, edge, random.randint(1, 5))]
        for _ in range(3):
            wrong += twins(world, workers)
    assert wrong == []


@pytest.mark.chaos
def test_frozen_and_thawed_later(running: Loop, workers: Crew) -> None:
    wrong = []
    for edge in ("republish.before_claim", "republish.claimed", "republish.posted"):
        for seconds in (1, 30, 5 * MINUTE, 60 * MINUTE):
            wrong += frozen(running, workers, edge, seconds)
    assert wrong == []


@pytest.mark.chaos
@pytest.mark.parametrize("provider", [-240.0, 0.0, 240.0])
@pytest.mark.parametrize("worker", [-240.0, 0.0, 240.0])
def test_clocks_differ(running: Loop, workers: Crew, provider: float, worker: float) -> None:
    """Provider and workers are minutes apart, the workers from each other too."""
    running.skew(provider=provider)
    running.look()
    assert twins(running, workers, worker, 0.0) == []


def two_plans(world: Loop, workers: Crew, edge: str, seconds: float) -> list[str]:
    """A person closes a plan whose process is frozen; the next plan is executed; then the first process goes on."""
    lost = lose(world, EVENTS)
    plan = planned(world)
    (end,) = workers.send(world, plan, failpoint=f"{edge}@{random.randint(1, 3)}=stop")
    assert end["how"] == "stopped"
    try:
        with world.ledger.write() as connection:
            close_plan(connection, ACCOUNT, plan, world.clock.now(), "ann", "closed by ann")
        second = world.plan()
        assert second is not None
        assert second.id != plan
        approve(Account(world.ledger, ACCOUNT, clock=lambda: world.clock.now()), second.id, second.hash, "ann")
        if seconds:
            world.jump(seconds)
            world.resume(second.id)
        else:
            workers.send(world, second.id, failpoint="republish.written@2")
    finally:
        os.kill(end["pid"], signal.SIGCONT)
        together = workers.wait(end["pid"])
    recover(world, lost, second.id)
    wrong = [f"a worker failed: {each}" for each in together if each["code"]] + faults(world, lost)
    return [f"{edge}, {seconds:.0f} s: {each}" for each in wrong]


def test_two_plans(running: Loop, workers: Crew) -> None:
    assert two_plans(running, workers, "republish.claimed", 5 * MINUTE) == []


@pytest.mark.chaos
def test_two_plans_one_after_the_other_and_mixed(running: Loop, workers: Crew) -> None:
    wrong = []
    for edge in ("republish.before_claim", "republish.claimed", "republish.posted", "republish.written"):
        for seconds in (0, 1, 5 * MINUTE):
            wrong += two_plans(running, workers, edge, seconds)
    assert wrong == []


@pytest.mark.chaos
def test_a_plan_made_while_another_is_open(running: Loop, workers: Crew) -> None:
    """There is only one."""
    lost = lose(running, EVENTS)
    plan = planned(running)
    workers.send(running, plan, failpoint="republish.claimed@3")
    again = running.plan()
    assert again is not None
    assert again.id == plan
    recover(running, lost, plan)
    assert faults(running, lost) == []
