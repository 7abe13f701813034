"""The operators of the closed loop, each as Airflow runs it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from telnyx_porting.compat import TaskAwaitingInput
from telnyx_porting.errors import AuthenticationError, PlanError
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.ledger.tables import events, findings, plans, republishes
from telnyx_porting.operators.porting import (
    TelnyxApprovePortingPlanOperator,
    TelnyxClosePortingPlanOperator,
    TelnyxExecutePortingPlanOperator,
    TelnyxPlanPortingRepublishOperator,
    TelnyxPreviewPortingRepublishOperator,
    TelnyxReadPortingDeliveriesOperator,
    TelnyxReportPortingPlanOperator,
    TelnyxScanPortingEventsOperator,
)
from tests.support.rows import ACCOUNT, add_event, add_feed, add_watch

if TYPE_CHECKING:
    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger

pytestmark = pytest.mark.airflow
WEEK = timedelta(days=7)
KEPT: dict[str, Any] = {}  # what a task leaves in XCom
TASK = SimpleNamespace(xcom_push=lambda key, value: KEPT.update({key: value}))
CONTEXT: dict[str, Any] = {"dag_run": SimpleNamespace(triggering_user_name="ann"), "ti": TASK}


@pytest.fixture
def ledger(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The receiver is the consumer of record, and alive."""
    monkeypatch.setenv("TELNYX_PORTING_CONSUMER_OF_RECORD", "receiver")
    now = datetime.now(UTC)
    add_feed(ledger, heartbeat=now, covers_from=now - WEEK, proved_at=now - WEEK)
    add_watch(ledger, now - WEEK)
    return ledger


def missed(ledger: Ledger, **more: Any) -> str:
    at = datetime.now(UTC) - timedelta(hours=1)
    return add_event(ledger, created_at=at, **{"delivery": "missed", **more})


def plan(**more: Any) -> dict[str, Any]:
    return TelnyxPlanPortingRepublishOperator(task_id="plan", **more).execute(CONTEXT)  # type: ignore[arg-type]


def told(ledger: Ledger) -> dict[str, str]:
    """Open health findings."""
    with ledger.read() as connection:
        rows = connection.execute(findings.select().where(findings.c.absent_since.is_(None)))
        return {row.subject: row.detail["text"] for row in rows}


def test_a_plan_is_made_once_and_says_what_it_does(ledger: Ledger) -> None:
    missed(ledger)
    made = plan()
    assert made["size"] == 1
    assert made["words"].startswith("1 event, 1 order, oldest 60 min. Goes to:")
    assert plan()["plan_id"] == made["plan_id"]


def test_a_dry_run_speaks_and_stores_nothing(ledger: Ledger) -> None:
    event = missed(ledger)
    for asked in ({}, {"event_ids": [event.upper()]}):
        said = TelnyxPreviewPortingRepublishOperator(task_id="preview", **asked).execute(CONTEXT)  # type: ignore[arg-type]
        assert (said["outcome"], said["size"]) == ("dry_run", 1)
        assert said["text"].startswith("dry run: 1 event, 1 order")
        assert KEPT["outcome"] == said
    with ledger.read() as connection:
        assert connection.execute(plans.select()).all() == []


def test_nothing_is_planned_while_nothing_could_be_sent(ledger: Ledger) -> None:
    event = missed(ledger)
    add_feed(ledger, heartbeat=datetime.now(UTC) - timedelta(minutes=9))
    with pytest.raises(AirflowSkipException, match="the receiver has been silent"):
        plan()
    with pytest.raises(PlanError, match="nothing can be sent now"):
        plan(event_ids=[event])


def test_a_person_closes_a_plan(ledger: Ledger) -> None:
    missed(ledger)
    made = plan()
    for words in ("is closed", "was closed already"):
        said = TelnyxClosePortingPlanOperator(task_id="close", plan_id=made["plan_id"]).execute(CONTEXT)  # type: ignore[arg-type]
        assert said == {"outcome": "closed", "text": f"plan {made['plan_id']} {words}"} == KEPT["outcome"]
    with pytest.raises(PlanError, match="closed by ann"):
        plan(plan_id=made["plan_id"])


def approve(plan_id: str) -> Any:
    return TelnyxApprovePortingPlanOperator(task_id="approve", plan_id=plan_id)


def test_policy_lets_a_small_plan_pass(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_PORTING_REPUBLISH_MODE", "auto")
    monkeypatch.setenv("TELNYX_PORTING_CONSUMER_IS_IDEMPOTENT", "true")
    missed(ledger)
    assert approve(plan()["plan_id"]).execute(CONTEXT) == {"approved_by": "policy"}


def test_params_and_conf_change_no_mode(ledger: Ledger, asked: list[dict[str, Any]]) -> None:
    """Whatever a run is given: mode and caps are settings."""
    missed(ledger)
    context = {"task_instance": SimpleNamespace(id="1"), "params": {"republish_mode": "auto"}, **CONTEXT}
    operator = approve(plan()["plan_id"])
    with pytest.raises(TaskAwaitingInput):
        operator.execute(context)
    assert operator.response_timeout <= timedelta(hours=24)
    assert "hash `" in asked[0]["body"]
    assert "republish_mode is approve" in asked[0]["body"]
    assert asked[0]["defaults"] == ["Reject"]
    assert "wait for an approval" in told(ledger)["approval_asked"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Airflow would store for the person; only the wire to its API server is cut."""
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **detail: shown.append(detail)
    )
    return shown


def ask(plan_id: str) -> dict[str, Any]:
    """Let the operator ask, and return what Airflow gives back to it together with the answer."""
    with pytest.raises(TaskAwaitingInput) as waits:
        approve(plan_id).execute({"task_instance": SimpleNamespace(id="1"), **CONTEXT})
    return waits.value.kwargs or {}


def answer(word: str, by: str | None) -> dict[str, Any]:
    who = None if by is None else {"id": "1", "name": by}
    return {"chosen_options": [word], "params_input": {}, "responded_at": datetime.now(UTC), "responded_by_user": who}


def test_silence_is_a_no_and_binds_to_nothing(ledger: Ledger, asked: list[dict[str, Any]]) -> None:
    missed(ledger)
    made = plan()
    kept = ask(made["plan_id"])
    told_back = approve(made["plan_id"]).execute_complete(CONTEXT, answer("Reject", None), **kept)
    assert told_back == {"rejected_by": "nobody"}
    with ledger.read() as connection:
        assert connection.execute(plans.select()).one().close_reason == "nobody answered"


@pytest.mark.parametrize("word", ["Approve", "Reject"])
def test_an_answer_is_for_what_was_shown(ledger: Ledger, asked: list[dict[str, Any]], word: str) -> None:
    """While a person thinks, the plan is closed and somebody clears the task before: its XCom names another plan."""
    missed(ledger)
    shown = plan()["plan_id"]
    kept = ask(shown)
    TelnyxClosePortingPlanOperator(task_id="close", plan_id=shown).execute(CONTEXT)  # type: ignore[arg-type]
    other = plan()
    assert other["plan_id"] != shown
    late = approve(other["plan_id"])
    if word == "Approve":
        with pytest.raises(PlanError, match="nothing was approved"):
            late.execute_complete(CONTEXT, answer(word, "ann"), **kept)
    else:
        late.execute_complete(CONTEXT, answer(word, "ann"), **kept)
    with ledger.read() as connection:
        held = connection.execute(plans.select().where(plans.c.id == other["plan_id"])).one()
    assert (held.approved_by, held.closed_at) == (None, None)


def test_execute_and_report(ledger: Ledger, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens: the canary is sent, is not seen to arrive, and people are told."""
    monkeypatch.setenv("TELNYX_PORTING_REPUBLISH_MODE", "auto")
    monkeypatch.setenv("TELNYX_PORTING_CONSUMER_IS_IDEMPOTENT", "true")
    monkeypatch.setenv("TELNYX_PORTING_CONFIRM_WITHIN", "0s")
    order = sandbox.order()
    ids = [sandbox.act(order, "comment", complete_after=0)[0]["id"] for _ in range(3)]
    for event in ids:
        missed(ledger, id=event)
    made = plan()
    approve(made["plan_id"]).execute(CONTEXT)
    done = TelnyxExecutePortingPlanOperator(task_id="execute", plan_id=made["plan_id"]).execute(CONTEXT)  # type: ignore[arg-type]
    assert done["state"] == "halted"
    assert done["progress"]["sent"] == 1
    assert "does not seem to be back" in told(ledger)["republish_halted"]
    said = TelnyxReportPortingPlanOperator(task_id="report", plan_id=made["plan_id"]).execute(CONTEXT)  # type: ignore[arg-type]
    assert said["counts"] == {"not_arrived": 1, "dropped": 2}
    assert "**not arrived**" in said["report"]
    assert told(ledger)["not_arrived"] == "Of 3 events: 1 not arrived, 2 dropped, not sent."


def test_what_did_not_arrive_is_not_over_because_others_arrived(ledger: Ledger) -> None:
    at = datetime.now(UTC) - timedelta(minutes=20)
    times = {"sent_at": at, "reply_date": at, "settled_at": at, "due_at": at, "position": 0, "wave": 1}

    def end(plan_id: str, state: str, **event: Any) -> str:
        tried = missed(ledger, sends=1, last_sent_at=at, **event)
        made = {"id": plan_id, "reason": "", "selection": {"words": ""}, "hash": "h", "size": 1, "created_by": "ann"}
        times_of_plan = {"created_at": at, "approved_at": at, "closed_at": at, "expires_at": at + WEEK}
        row = {"account": ACCOUNT, "plan_id": plan_id, "event_id": tried, "state": state}
        with ledger.write() as connection:
            connection.execute(plans.insert().values(account=ACCOUNT, **made, **times_of_plan))
            connection.execute(republishes.insert().values(**row, **times))
        TelnyxReportPortingPlanOperator(task_id="report", plan_id=plan_id).execute(CONTEXT)  # type: ignore[arg-type]
        return tried

    lost = end("one", "not_arrived")
    end("two", "arrived", delivery="arrived", arrived_at=at)
    assert told(ledger)["not_arrived"] == "Of 1 events: 1 not arrived."
    with ledger.write() as connection:  # it comes after all
        connection.execute(events.update().where(events.c.id == lost).values(delivery="arrived", arrived_at=at))
    end("three", "arrived", delivery="arrived", arrived_at=at)
    assert "not_arrived" not in told(ledger)


def test_a_killed_task_sends_no_more(ledger: Ledger, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_PORTING_REPUBLISH_MODE", "auto")
    monkeypatch.setenv("TELNYX_PORTING_CONSUMER_IS_IDEMPOTENT", "true")
    missed(ledger)
    made = plan()
    approve(made["plan_id"]).execute(CONTEXT)
    operator = TelnyxExecutePortingPlanOperator(task_id="execute", plan_id=made["plan_id"])
    operator.on_kill()
    assert operator.execute(CONTEXT)["state"] == "stopped"  # type: ignore[arg-type]
    assert not sandbox.republishes()
    assert plan(plan_id=made["plan_id"])["plan_id"] == made["plan_id"], "it can be continued"


def clock_told(ledger: Ledger) -> str | None:
    """What is said of clocks; they are known to about a second."""
    text = told(ledger).get("clock_skew")
    return text and re.sub(r"\b(399|401) s", "400 s", re.sub(r"\b(89|91) s", "90 s", text))


@pytest.mark.parametrize("operator", [TelnyxScanPortingEventsOperator, TelnyxReadPortingDeliveriesOperator])
def test_whoever_is_told_the_time_says_that_a_clock_is_wrong(
    ledger: Ledger, sandbox: RunningSandbox, operator: type[Any]
) -> None:
    task = operator(task_id="task")

    def told_by(seconds: int) -> str | None:
        sandbox.switches(clock_skew_seconds=seconds)
        task.execute(CONTEXT)
        return clock_told(ledger)

    assert told_by(0) is None
    assert "this machine's clock is 400 s behind Telnyx's" in (told_by(400) or "")
    assert "this machine's clock is 90 s ahead of Telnyx's" in (told_by(-90) or "")
    assert told_by(0) is None
    with ledger.write() as connection:
        touch_feed(ledger, connection, ACCOUNT, "receiver", refused=1, clock_offset=400_000)
    assert "the receiver's clock is 400 s behind Telnyx's" in (told_by(0) or "")
    with ledger.write() as connection:
        ahead = datetime.now(UTC) + timedelta(seconds=250)
        touch_feed(ledger, connection, ACCOUNT, "receiver", refused=0, clock_offset=0, heartbeat=ahead)
    assert "the receiver's clock is 2" in (told_by(0) or "")
    sandbox.fault("status", status=401)
    with pytest.raises(AuthenticationError):
        told_by(400)
    assert "this machine's clock is 400 s behind Telnyx's" in (clock_told(ledger) or ""), "a failing answer tells too"


def test_a_plan_is_executed_only_while_the_clocks_agree(
    ledger: Ledger, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock went wrong after the last look; Telnyx is asked the time before the first send."""
    monkeypatch.setenv("TELNYX_PORTING_REPUBLISH_MODE", "auto")
    monkeypatch.setenv("TELNYX_PORTING_CONSUMER_IS_IDEMPOTENT", "true")
    missed(ledger)
    made = plan()
    approve(made["plan_id"]).execute(CONTEXT)
    sandbox.switches(clock_skew_seconds=-400)
    ended = TelnyxExecutePortingPlanOperator(task_id="execute", plan_id=made["plan_id"]).execute(CONTEXT)  # type: ignore[arg-type]
    assert ended["state"] == "halted"
    assert not sandbox.republishes()
    assert "this machine's clock is 400 s ahead of Telnyx's" in (clock_told(ledger) or "")
