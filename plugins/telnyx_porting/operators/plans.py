"""Operators of the closed loop: plan, approve, execute, report. One plan of one account at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import AirflowSkipException

from telnyx_porting import settings
from telnyx_porting.errors import PlanError
from telnyx_porting.flows import plan as plans
from telnyx_porting.flows.findings_health import clear, health
from telnyx_porting.flows.report import report
from telnyx_porting.flows.republish import Halted, Wait, advance, progress
from telnyx_porting.hooks.ledger import DEFAULT_CONN_ID, TelnyxLedgerHook
from telnyx_porting.hooks.telnyx import TelnyxHook
from telnyx_porting.operators.base import PortingLedgerOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

WAIT_HERE = timedelta(seconds=15)  # shorter waits cost less than a deferral


class TelnyxPlanPortingRepublishOperator(PortingLedgerOperator):
    """Make a plan of what to republish: what is missed, or what a person named. Skips when there is nothing to send.

    :param plan_id: use this stored plan instead of making one. (templated)
    :param event_ids: ids named by a person. (templated)
    :param porting_order_id: all events of this order. (templated)
    :param event_type: all events of this type between `created_from` and `created_to`. (templated)
    :param created_from: ISO 8601 time with zone. (templated)
    :param created_to: ISO 8601 time with zone. (templated)
    :param consents: kinds the watch would not send by itself, see ``telnyx_porting.flows.plan.CONSENTS``. (templated)
    :param reason: why, for the report. (templated)
    :param dry_run: say what would be sent, then skip. (templated)
    :return: ``{"account", "plan_id", "hash", "size", "words"}``.
    """

    template_fields: ClassVar[Sequence[str]] = (
        "telnyx_conn_id",
        "plan_id",
        "event_ids",
        "porting_order_id",
        "event_type",
        "created_from",
        "created_to",
        "consents",
        "reason",
        "dry_run",
    )

    def __init__(
        self,
        *,
        plan_id: str | None = None,
        event_ids: list[str] | None = None,
        porting_order_id: str | None = None,
        event_type: str | None = None,
        created_from: str | None = None,
        created_to: str | None = None,
        consents: list[str] | None = None,
        reason: str = "missed notifications",
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan_id = plan_id
        self.event_ids = event_ids
        self.porting_order_id = porting_order_id
        self.event_type = event_type
        self.created_from = created_from
        self.created_to = created_to
        self.consents = consents
        self.reason = reason
        self.dry_run = dry_run

    def execute(self, context: Context) -> dict[str, Any]:
        """Make or load the plan."""
        knobs, ledger, account, now = self.settings(), self.ledger(), self.telnyx_conn_id, datetime.now(UTC)
        if self.plan_id:
            found: plans.Plan | None = plans.load_plan(ledger, account, self.plan_id)
        else:
            ids = self._named(ledger)
            if ids is None and knobs.republish_mode == "off":
                raise AirflowSkipException("republish_mode is off: nothing is planned by itself")
            if ids is not None and not ids:
                raise AirflowSkipException("the selection holds no event")
            if self.dry_run and ids is not None:
                raise AirflowSkipException(f"dry run: {len(ids)} events selected, nothing is planned or sent")
            with self.client() as client:
                destinations = plans.read_destinations(client)
            found = plans.make_plan(
                ledger,
                account,
                knobs,
                now,
                destinations,
                reason=self.reason,
                by=_who(context) if ids is not None else "schedule",
                event_ids=ids,
                consents=self.consents or (),
            )
        if found is None:
            raise AirflowSkipException("nothing to republish")
        self.log.info("plan %s: %s", found.id, found.words)
        if self.dry_run:
            raise AirflowSkipException(f"dry run: {found.words}")
        return {"account": account, "plan_id": found.id, "hash": found.hash, "size": found.size, "words": found.words}

    def _named(self, ledger: Any) -> list[str] | None:
        if self.event_ids:
            return list(self.event_ids)
        if not (self.porting_order_id or self.event_type):
            return None
        return plans.select_ids(
            ledger,
            self.telnyx_conn_id,
            order_id=self.porting_order_id or None,
            event_type=self.event_type or None,
            since=_time("created_from", self.created_from),
            until=_time("created_to", self.created_to),
        )


class TelnyxApprovePortingPlanOperator(ApprovalOperator):
    """Let a plan pass when mode and caps allow it; else ask a person, and take silence for a no.

    The answer is bound to the plan's hash. Mode and caps come from settings, never from params or a run's configuration.

    :param telnyx_conn_id: the account. (templated)
    :param plan_id: the plan. (templated)
    """

    template_fields: ClassVar[Sequence[str]] = ("telnyx_conn_id", "plan_id")

    def __init__(
        self,
        *,
        plan_id: str,
        telnyx_conn_id: str = TelnyxHook.default_conn_name,
        ledger_conn_id: str = DEFAULT_CONN_ID,
        response_timeout: timedelta = timedelta(hours=24),
        **kwargs: Any,
    ) -> None:
        # What people read is filled in when the task runs: it holds URLs from the API and must never be rendered as Jinja.
        super().__init__(
            subject="Republish port-in notifications?",
            body="",
            defaults=self.REJECT,
            response_timeout=response_timeout,
            **{"retries": 0, **kwargs},
        )
        self.telnyx_conn_id = telnyx_conn_id
        self.ledger_conn_id = ledger_conn_id
        self.plan_id = plan_id

    def execute(self, context: Context) -> Any:
        """Approve by policy, or wait for a person."""
        ledger, account, now = self._ledger(), self.telnyx_conn_id, datetime.now(UTC)
        plan = plans.load_plan(ledger, account, self.plan_id)
        if plan.approved_by is not None:
            return {"approved_by": plan.approved_by}
        why = plans.needs_person(ledger, settings.load(account).require_valid(), plan, now)
        if why is None:
            plans.approve(ledger, account, plan.id, plan.hash, "policy", now)
            self.log.info("plan %s approved by policy", plan.id)
            return {"approved_by": "policy"}
        self.subject = f"Republish {plan.size} port-in notifications of {account}?"
        self.body = f"{plan.words}\n\nPlan `{plan.id}`, hash `{plan.hash[:12]}`. A person is asked because {why}."
        health(ledger, account, f"approval:{plan.id}", f"{plan.size} republishes wait for an approval: {why}")
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Bind the answer to exactly this plan."""
        ledger, account, now = self._ledger(), self.telnyx_conn_id, datetime.now(UTC)
        clear(ledger, account, f"approval:{self.plan_id}")
        answer = super().execute_complete(context, event)
        user = answer.get("responded_by_user") or {}
        who = str(user.get("name") or user.get("id") or "nobody") if isinstance(user, dict) else str(user)
        if answer["chosen_options"] == [self.APPROVE]:
            plan = plans.load_plan(ledger, account, self.plan_id)
            plans.approve(ledger, account, plan.id, plan.hash, who, now)
            return {"approved_by": who}
        with ledger.write() as connection:
            plans.close_plan(connection, account, self.plan_id, now, who, f"rejected by {who}")
        return {"rejected_by": who}

    def _ledger(self) -> Any:
        return TelnyxLedgerHook(self.ledger_conn_id).get_ledger()


class TelnyxExecutePortingPlanOperator(PortingLedgerOperator):
    """Execute one approved plan to its verdicts: send in waves, look whether it arrived, wait without a worker.

    A retry, a clear or a new run of the same plan continues where the ledger stands; nothing is sent twice blindly.

    :param plan_id: the plan. (templated)
    :return: counts by outcome, and why it stopped if it did.
    """

    template_fields: ClassVar[Sequence[str]] = ("telnyx_conn_id", "plan_id")

    def __init__(self, *, plan_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_id = plan_id

    def execute(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Advance the plan until it is done, halted, or has to wait for long."""
        knobs, ledger, account = self.settings(), self.ledger(), self.telnyx_conn_id
        with self.client() as client:
            while True:
                step = advance(ledger, account, client, knobs, self.plan_id)
                self.log.info("plan %s: %s", self.plan_id, progress(ledger, account, self.plan_id))
                if not isinstance(step, Wait):
                    break
                pause = step.until - datetime.now(UTC)
                if pause > WAIT_HERE:
                    self.log.info("waiting until %s: %s", step.until.isoformat(timespec="seconds"), step.why)
                    self.defer(trigger=DateTimeTrigger(moment=step.until), method_name="execute")
                time.sleep(max(pause.total_seconds(), 0))
        subject = "republish_halted"
        if isinstance(step, Halted):
            health(ledger, account, subject, f"Republishing stopped: {step.reason}")
            return {"state": "halted", "reason": step.reason, "counts": step.counts}
        clear(ledger, account, subject)
        return {"state": "done", "counts": step.counts}


class TelnyxReportPortingPlanOperator(PortingLedgerOperator):
    """Say what a plan did. The Markdown goes to the log and, as ``report``, to XCom.

    :param plan_id: the plan. (templated)
    """

    template_fields: ClassVar[Sequence[str]] = ("telnyx_conn_id", "plan_id")

    def __init__(self, *, plan_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_id = plan_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the report; open a finding when something is not known to have arrived."""
        if not self.plan_id:
            raise AirflowSkipException("no plan was made: nothing to report")
        ledger, account = self.ledger(), self.telnyx_conn_id
        result = report(ledger, account, self.plan_id)
        self.log.info("%s", result.markdown)
        if result.all_arrived:
            clear(ledger, account, "not_arrived")
        else:
            health(
                ledger, account, "not_arrived", f"Not everything republished is known to have arrived: {result.counts}"
            )
        return {
            "counts": result.counts,
            "p50": result.confirm_p50,
            "p95": result.confirm_p95,
            "report": result.markdown,
        }


def _time(field: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        value = None
    if value is None or value.tzinfo is None:
        raise PlanError(f"{field}: {text!r} is no time with a zone; expected something like 2026-10-01T00:00:00Z")
    return value.astimezone(UTC)


def _who(context: Context) -> str:
    return str(getattr(context["dag_run"], "triggering_user_name", None) or "a person")
