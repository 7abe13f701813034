"""What came of a run of `porting_republish` is in XCom, typed and in words, whichever way it went."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.republish.plan import make_plan
from telnyx_porting.flows.subscriptions import Destinations
from telnyx_porting.ledger.tables import events, plans
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT, add_event
from tests.support.runs import run, states, told

if TYPE_CHECKING:
    from include.sandbox.testing import RunningSandbox
    from tests.support.runs import Scene

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("outcomes")]
NAME = "porting_republish"


def outcome(scene: Scene, conf: dict[str, Any]) -> dict[str, Any]:
    """What the last task says of a run that did not fail."""
    ended = run(scene, NAME, conf)
    assert ended.state == "success"
    assert states(ended)["report"] == "success"
    said: dict[str, Any] = told(ended, "report")
    done = {"dry_run": "preview", "closed": "close", "nothing": "preview" if conf.get("dry_run") else None}
    if task := done.get(said["outcome"]):
        assert (states(ended)[task], states(ended)["plan"]) == ("success", "skipped"), "what was asked for was done"
    return said


def made(scene: Scene) -> int:
    with scene.ledger.read() as connection:
        return len(connection.execute(plans.select()).all())


def stored(scene: Scene, **given: Any) -> str:
    at = datetime.now(UTC) - timedelta(minutes=50)
    return add_event(scene.ledger, created_at=at, order_id=scene.order, **given)


def a_type() -> dict[str, Any]:
    now = datetime.now(UTC)
    times = {"created_from": (now - timedelta(hours=2)).isoformat(), "created_to": now.isoformat()}
    return {"event_type": "porting_order.status_changed", **times}


def test_a_plan_that_was_carried_out(scene: Scene, sandbox: RunningSandbox) -> None:
    said = outcome(scene, {})
    assert (said["outcome"], said["counts"]) == ("halted", {"not_arrived": 1}), "nobody listens here"
    assert said["text"] == "Of 1 events: 1 not arrived."
    assert len(sandbox.republishes()) == 1


def test_a_dry_run(scene: Scene, sandbox: RunningSandbox) -> None:
    said = outcome(scene, {"dry_run": True})
    assert (said["outcome"], said["size"], said["left_out"]) == ("dry_run", 1, {})
    assert re.match(r"dry run: 1 event, 1 order, oldest \d+ min\. Goes to:", said["text"])
    assert (sandbox.republishes(), made(scene)) == ([], 0)


def test_a_dry_run_says_that_nothing_would_be_sent_now(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_PORTING_REPUBLISH_MODE", "off")
    assert outcome(scene, {"dry_run": True})["text"].endswith("republish_mode is off: nothing is republished.")
    said = outcome(scene, {})
    assert (said["outcome"], said["text"]) == (
        "held_back",
        "nothing is planned: republish_mode is off: nothing is republished",
    )


def test_nothing_is_missed(scene: Scene) -> None:
    with scene.ledger.write() as connection:
        connection.execute(events.update().values(delivery="arrived", arrived_at=datetime.now(UTC)))
    assert outcome(scene, {}) == {"outcome": "nothing", "text": "nothing to republish"}


def test_all_of_a_type_is_not_refused_for_one(scene: Scene, sandbox: RunningSandbox) -> None:
    now = datetime.now(UTC)
    stored(scene, delivery="arrived", arrived_at=now)
    stored(scene, payload_status="created")
    said = outcome(scene, {**a_type(), "dry_run": True})
    assert (said["outcome"], said["size"], said["left_out"]) == ("dry_run", 1, {"arrived": 1, "no_payload": 1})
    assert "Left out: 1 without a payload yet, 1 arrived already." in said["text"]
    with scene.ledger.write() as connection:
        connection.execute(events.update().values(delivery="arrived", arrived_at=now))
    said = outcome(scene, a_type())
    assert (said["outcome"], said["left_out"]) == ("nothing", {"arrived": 2, "no_payload": 1})
    assert said["text"] == "nothing of the selection can be sent: 1 without a payload yet, 2 arrived already"
    assert (sandbox.republishes(), made(scene)) == ([], 0)


def test_an_order_that_the_ledger_does_not_know_is_read(scene: Scene, sandbox: RunningSandbox) -> None:
    """It had its events before the watch began; what becomes of them is counted, and a consent sends them."""
    order = sandbox.order(status="submitted")
    ids = {sandbox.act(order, "comment", complete_after=0)[0]["id"] for _ in range(2)}
    said = outcome(scene, {"porting_order_id": order, "dry_run": True})
    with scene.ledger.read() as connection:
        held = set(connection.execute(events.select().where(events.c.order_id == order)).scalars("id"))
    assert ids <= held
    assert said["outcome"] == "nothing"
    assert sum(said["left_out"].values()) == len(held)
    said = outcome(scene, {"porting_order_id": order, "dry_run": True, "consents": ["pending", "undetermined"]})
    assert (said["outcome"], said["size"]) == ("dry_run", len(held) - said["left_out"].get("no_payload", 0))
    assert sandbox.republishes() == []


def test_an_order_without_events(scene: Scene, sandbox: RunningSandbox) -> None:
    said = outcome(scene, {"porting_order_id": sandbox.order(status="draft")})
    assert said == {"outcome": "nothing", "text": "the selection holds no event"}


def test_a_plan_that_is_closed(scene: Scene) -> None:
    knobs = Settings(consumer_of_record="receiver")
    plan = make_plan(Account(scene.ledger, ACCOUNT, knobs), Destinations())
    said = outcome(scene, {"plan_id": plan.id, "dry_run": True})
    assert (said["outcome"], said["size"]) == ("dry_run", 1)
    said = outcome(scene, {"plan_id": plan.id, "close": True})
    assert said == {"outcome": "closed", "text": f"plan {plan.id} is closed"}


def test_the_look_says_what_came_of_it_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_PORTING_REPUBLISH_MODE", "off")
    ended = run(scene, "porting_missed_notifications")
    (plan,) = [each for each in ended.get_task_instances() if each.task_id == "look.plan"]
    said = plan.xcom_pull(task_ids="look.plan", key="outcome", map_indexes=0)
    assert (ended.state, said["outcome"]) == ("success", "held_back")
