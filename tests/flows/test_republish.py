"""The republish machine against a provider that refuses, stalls and breaks."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from telnyx_porting.errors import PlanError
from telnyx_porting.flows.account import Account, touch_account
from telnyx_porting.flows.republish.advance import Done, Halted, Wait, advance, progress
from telnyx_porting.flows.republish.gates import POLICY, approve
from telnyx_porting.flows.republish.plan import close_plan
from telnyx_porting.flows.republish.report import report
from telnyx_porting.flows.republish.selection import Asked
from telnyx_porting.ledger.tables import plans, republishes
from tests.scenarios.loop import ACCOUNT, MINUTE, Loop
from tests.support.crew import lose

REPUBLISH = "/v2/porting/events/*/republish"


def ready(world: Loop, count: int, by: str = "ann", *, named: bool = False) -> tuple[list[str], str]:
    lost = lose(world, count)
    plan = world.plan(Asked(lost) if named else None)
    assert plan is not None
    approve(Account(world.ledger, ACCOUNT, clock=lambda: world.clock.now()), plan.id, plan.hash, by)
    return lost, plan.id


def step(world: Loop, plan_id: str, **more: Any) -> Any:
    return advance(Account(world.ledger, ACCOUNT, world.settings, clock=world.clock.now), world.client, plan_id, **more)


def test_nothing_without_approval(world: Loop) -> None:
    lose(world, 2)
    plan = world.plan()
    assert plan is not None
    with pytest.raises(PlanError, match="not approved"):
        step(world, plan.id)
    assert not world.asked()


@pytest.mark.parametrize(
    ("fault", "sends"),
    [
        ({"kind": "status", "status": 429}, 2),
        ({"kind": "status", "status": 500, "when": "after"}, 1),
        ({"kind": "status", "status": 503, "when": "before"}, 2),
        ({"kind": "reset", "when": "after"}, 1),
        ({"kind": "reset", "when": "before"}, 2),
    ],
    ids=lambda value: str(value),
)
def test_an_unclear_answer_is_looked_at_never_repeated(world: Loop, fault: dict[str, Any], sends: int) -> None:
    """Whether it had an effect or not: the event is sent again only after the look, and arrives."""
    lost, plan = ready(world, 1)
    world.sandbox.fault(path=REPUBLISH, method="POST", times=1, **fault)
    world.resume(plan)
    assert sum(call["event_id"] == lost[0] for call in world.sandbox.republishes()) <= sends
    world.jump(40 * MINUTE)
    world.cycle()
    assert world.states()[lost[0]] == "arrived"
    assert world.false_verdicts() == []


def test_a_refused_key_halts_at_once_and_condemns_no_event(world: Loop) -> None:
    lost, plan = ready(world, 5)
    fault = world.sandbox.fault("status", status=401, path=REPUBLISH, method="POST")
    assert isinstance(world.resume(plan), Halted)
    assert world.verdicts() == {"dropped": 5}
    world.sandbox.control("DELETE", f"/faults/{fault}")
    assert isinstance(world.cycle(), Done)
    assert {world.states()[event] for event in lost} == {"arrived"}


def test_three_refusals_in_a_row_are_not_about_the_events(world: Loop) -> None:
    lost, plan = ready(world, 6)
    fault = world.sandbox.fault("status", status=404, path=REPUBLISH, method="POST")
    end = world.resume(plan)
    assert isinstance(end, Halted)
    assert "refused 3 events in a row" in end.reason
    world.sandbox.control("DELETE", f"/faults/{fault}")
    assert isinstance(world.cycle(), Done)
    assert {world.states()[event] for event in lost} == {"arrived"}


def test_one_refused_event_does_not_stop_the_others(world: Loop) -> None:
    lost, plan = ready(world, 5)
    world.sandbox.fault("status", status=404, path=f"/v2/porting/events/{lost[2]}/republish", method="POST")
    assert isinstance(world.resume(plan), Done)
    assert world.verdicts() == {"arrived": 4, "refused": 1}
    assert world.plan() is None, "only a person asks again for what Telnyx refused"


def test_an_expired_plan_sends_nothing_more(world: Loop) -> None:
    _, plan = ready(world, 3)
    world.jump(25 * 60 * MINUTE)
    end = world.resume(plan)
    assert isinstance(end, Halted)
    assert end.reason == "expired"
    assert not world.asked()


@pytest.mark.parametrize("named", [False, True], ids=["selected", "named by a person"])
def test_what_arrives_meanwhile_is_dropped(world: Loop, named: bool) -> None:
    """Somebody republished one by hand while the plan waited; whoever named it did not know that."""
    lost, plan = ready(world, 2, named=named)
    world.client.republish_porting_event(lost[0])
    world.sandbox.settle()
    assert isinstance(world.resume(plan), Done)
    assert world.asked() == dict.fromkeys(lost, 1)
    assert world.verdicts() == {"arrived": 1, "dropped": 1}


def test_within_an_order_one_after_the_other(world: Loop) -> None:
    order = world.orders(1)[0]
    world.ear.up = False
    lost = world.comments(order, 3)
    world.jump(10 * MINUTE)
    world.ear.up = True
    world.jump(20 * MINUTE)
    assert isinstance(world.cycle(), Done)
    assert [call["event_id"] for call in world.sandbox.republishes()] == lost


def test_off_is_off_even_in_the_middle(world: Loop) -> None:
    _, plan = ready(world, 5)
    assert isinstance(step(world, plan), Wait)
    world.use(republish_mode="off")
    assert isinstance(world.resume(plan), Halted)
    assert sum(world.asked().values()) == 1


@pytest.mark.parametrize(("by", "ended"), [(POLICY, Halted), ("ann", Done)])
def test_what_no_person_approved_waits_for_one_once_a_person_decides(world: Loop, by: str, ended: type) -> None:
    lost, plan = ready(world, 5, by)
    assert isinstance(step(world, plan), Wait)
    world.use(republish_mode="approve")
    assert isinstance(world.resume(plan), ended)
    assert sum(world.asked().values()) == (1 if ended is Halted else len(lost))


def test_a_stop_from_outside_sends_no_more_and_leaves_the_plan_open(world: Loop) -> None:
    lost, plan = ready(world, 5)
    assert isinstance(step(world, plan, go_on=lambda: False), Wait)
    assert not world.asked()
    assert isinstance(world.resume(plan), Done)
    assert world.asked() == dict.fromkeys(lost, 1)


def test_a_clock_that_jumps_in_the_middle_is_seen_with_the_next_answer(world: Loop) -> None:
    """The answer to the first send after the jump shows it, and nothing follows."""
    _, plan = ready(world, 15)
    step(world, plan)
    world.sandbox.settle()
    asked = iter(range(100))

    def go_on() -> bool:
        if next(asked) == 3:
            world.sandbox.switches(clock_skew_seconds=world.clock.seconds + 400)
        return True

    while sum(world.asked().values()) == 1:
        step(world, plan, go_on=go_on)
    end = world.resume(plan)
    assert isinstance(end, Halted)
    assert re.match(r"this machine's clock is (399|400|401) s behind Telnyx's", end.reason)
    assert sum(world.asked().values()) == 1 + 4, "three before the jump, and the one whose answer shows it"


def test_two_accounts_of_one_user_send_nothing(world: Loop) -> None:
    _, plan = ready(world, 2)
    with world.ledger.write() as connection:
        touch_account(world.ledger, connection, "other", user_id="u")
        touch_account(world.ledger, connection, ACCOUNT, user_id="u")
    end = world.resume(plan)
    assert isinstance(end, Halted)
    assert "same Telnyx user" in end.reason
    assert not world.asked()


def test_a_closed_plan_is_not_continued(world: Loop) -> None:
    _, plan = ready(world, 3)
    step(world, plan)
    with world.ledger.write() as connection:
        close_plan(connection, ACCOUNT, plan, world.clock.now(), "ann", "closed by ann")
    end = world.resume(plan)
    assert isinstance(end, Halted)
    assert sum(world.asked().values()) == 1
    assert world.verdicts() == {"arrived": 1, "dropped": 2}


def test_a_refusal_that_comes_back_to_a_closed_plan_ends_it(world: Loop) -> None:
    """A send was under way when the plan was closed; then Telnyx answered 429."""
    lost, plan = ready(world, 2)
    second = republishes.update().where(republishes.c.event_id == lost[1])
    with world.ledger.write() as connection:
        connection.execute(second.values(state="sending"))
        close_plan(connection, ACCOUNT, plan, world.clock.now(), "ann", "closed by ann")
        connection.execute(second.values(state="planned", detail="429"))
    assert isinstance(world.resume(plan, most=3), Halted)
    assert world.verdicts() == {"dropped": 2}
    assert not world.asked()


def test_a_consumer_that_dies_again_stops_the_rest(world: Loop) -> None:
    world.use(republish_unconfirmed=20)
    _, plan = ready(world, 60)
    while (sent := sum(world.asked().values())) < 11:
        wait = step(world, plan)
        world.jump((wait.until - world.clock.now()).total_seconds())
    world.ear.reachable = False
    assert isinstance(world.resume(plan), Halted)
    assert sum(world.asked().values()) <= sent + 20
    assert world.false_verdicts() == []


def test_pace_and_progress(world: Loop) -> None:
    world.use(republish_per_second=20.0)
    _, plan = ready(world, 4)
    world.resume(plan)
    with world.ledger.read() as connection:
        times = sorted(connection.execute(select(republishes.c.sent_at)).scalars())
    assert all(later - earlier >= timedelta(milliseconds=49) for earlier, later in pairwise(times))
    so_far = progress(Account(world.ledger, ACCOUNT, clock=lambda: world.clock.now() + timedelta(minutes=1)), plan)
    assert (so_far.size, so_far.sent, so_far.arrived, so_far.left) == (4, 4, 4, 0)
    assert str(so_far).startswith("4 of 4 sent, 4 arrived, 0 left; ")


def test_the_report_tells_everything_once(world: Loop) -> None:
    lost, plan = ready(world, 4)
    world.sandbox.control("POST", "/undeliverable", {"event_ids": lost[2:3]})
    assert isinstance(world.resume(plan), Done)
    told = report(Account(world.ledger, ACCOUNT), plan)
    assert told.counts == {"arrived": 3, "not_arrived": 1}
    assert not told.all_arrived
    assert told.summary == "Of 4 events: 3 arrived, 1 not arrived."
    assert "Found: 4 missed" in told.markdown
    assert "Approved by ann" in told.markdown
    assert f"| {lost[2]} | new_comment | not_arrived |" in told.markdown
    assert told.confirm_p50 is not None
    assert told.confirm_p95 is not None
    assert 0 <= told.confirm_p50 <= told.confirm_p95 < 5
    with world.ledger.read() as connection:
        assert connection.execute(plans.select()).one().close_reason == "done"


def test_late_evidence_lifts_a_verdict(world: Loop) -> None:
    """Told not to have arrived; a day later the webhook comes through after all."""
    lost, plan = ready(world, 3)
    world.ear.reachable = False
    world.sandbox.control("POST", "/undeliverable", {"event_ids": lost})
    world.ear.reachable = True
    world.resume(plan)
    assert world.verdicts()["not_arrived"] == 1
    world.sandbox.control("POST", "/undeliverable", {"event_ids": []})
    for event in lost:
        world.client.republish_porting_event(event)
    world.sandbox.settle()
    world.look()
    assert {world.states()[event] for event in lost} == {"arrived"}
    assert world.verdicts()["not_arrived"] == 0
