"""Operators of one republish plan: let it pass or ask a person, execute it, and say what came of it."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import AirflowSkipException

from telnyx_porting.compat import TaskAwaitingInput
from telnyx_porting.errors import PlanError
from telnyx_porting.escaping import for_markdown
from telnyx_porting.hooks.inputs import check_ids
from telnyx_porting.hooks.ledger import DEFAULT_CONN_ID, TelnyxLedgerHook
from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.hooks.telnyx import TelnyxHook
from telnyx_porting.ledger.states import CloseReason, Republish
from telnyx_porting.operators import links
from telnyx_porting.operators.base import PortingLedgerOperator
from telnyx_porting.operators.evidence import table_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.sdk import Context

    from telnyx_porting.flows.account import Account

WAIT_HERE = timedelta(seconds=15)  # shorter waits cost less than a deferral
HALTED = "republish_halted"


class TelnyxApprovePortingPlanOperator(ApprovalOperator):
    """Let a plan pass when mode and caps allow it; else ask a person, and take silence for a no.

    The answer is bound to the plan's hash, and waits no longer than the plan lives. Mode and caps come from settings
    only, never from params or a run's configuration. A rejected plan's events are left alone for the life of a plan;
    one that nobody answered is made anew by the next look.

    :param plan_id: the plan. (templated)
    :param telnyx_conn_id: the account. (templated)
    :param ledger_conn_id: Airflow connection of the ledger.
    :param response_timeout: longest wait for an answer.
    :return: ``{"approved_by": ...}`` or ``{"rejected_by": ...}``; after a no the next task is skipped.
    """

    operator_extra_links = links.PLAN

    template_fields: Sequence[str] = ("telnyx_conn_id", "plan_id")

    def __init__(
        self,
        *,
        plan_id: str,
        telnyx_conn_id: str = TelnyxHook.default_conn_name,
        ledger_conn_id: str = DEFAULT_CONN_ID,
        response_timeout: timedelta = timedelta(hours=24),
        **kwargs: Any,
    ) -> None:
        # What people read is filled in when the task runs: it holds URLs and must never be rendered as Jinja.
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
        check_ids(self)
        with self._account() as account:
            return self._decide(context, account)

    def _decide(self, context: Context, account: Account) -> Any:
        from telnyx_porting.flows.findings.health import health
        from telnyx_porting.flows.findings.wording import moment
        from telnyx_porting.flows.republish.gates import POLICY, approve, needs_person
        from telnyx_porting.flows.republish.plan import require_open

        now = account.clock()
        if account.settings.require_valid().republish_mode == "off":
            raise AirflowSkipException("republish_mode is off: nothing is republished")
        plan = require_open(account, self.plan_id)
        if plan.approved_by is not None:
            return {"approved_by": plan.approved_by}
        why = needs_person(account, plan)
        if why is None:
            approve(account, plan.id, plan.hash, POLICY)
            self.log.info("plan %s approved by policy", plan.id)
            return {"approved_by": POLICY}
        self.subject = f"Republish {plan.size} port-in notifications of {account.id}?"
        until = moment(plan.expires_at, now, account.settings.business_zone)
        self.body = (
            f"{for_markdown(plan.words)}\n\nA person is asked because {for_markdown(why)}."
            f" Plan `{plan.id}`, hash `{plan.hash[:12]}`,"
            f" valid until {until}; without an answer nothing is sent."
        )
        self.response_timeout = min(self.response_timeout or plan.expires_at - now, plan.expires_at - now)
        health(account, "approval_asked", f"{plan.size} republishes wait for an approval: {why}")
        try:
            return super().execute(context)
        except TaskAwaitingInput as question:
            # The answer is for what is shown now, whatever the template names by then.
            question.kwargs = {"plan_id": plan.id, "plan_hash": plan.hash}
            raise

    def execute_complete(
        self, context: Context, event: dict[str, Any], *, plan_id: str = "", plan_hash: str = ""
    ) -> Any:
        """Bind the answer to exactly the plan that was shown."""
        with self._account() as account:
            return self._bind(context, account, event, plan_id, plan_hash)

    def _bind(self, context: Context, account: Account, event: dict[str, Any], plan_id: str, plan_hash: str) -> Any:
        from telnyx_porting.flows.findings.health import clear
        from telnyx_porting.flows.republish.gates import approve
        from telnyx_porting.flows.republish.plan import close_plan

        clear(account, "approval_asked")
        user = event.get("responded_by_user") or {}
        who = str(user.get("name") or user.get("id") or "") if isinstance(user, dict) else str(user)
        approved = event.get("chosen_options") == [self.APPROVE]
        if not approved:  # before Airflow skips what comes next
            reason = f"{CloseReason.REJECTED} by {who}" if who else CloseReason.UNANSWERED
            with account.ledger.write() as connection:
                close_plan(connection, account.id, plan_id, account.clock(), who or "nobody", reason)
        super().execute_complete(context, event)
        if not approved:
            return {"rejected_by": who or "nobody"}
        approve(account, plan_id, plan_hash, who or "nobody known")
        return {"approved_by": who}

    @contextmanager
    def _account(self) -> Iterator[Account]:
        from telnyx_porting.flows.account import Account

        if not self.plan_id:
            raise PlanError("plan_id: empty, expected the id of a plan")
        with TelnyxLedgerHook(self.ledger_conn_id).get_ledger() as ledger:
            yield Account(ledger, self.telnyx_conn_id, load_settings(self.telnyx_conn_id))


class TelnyxExecutePortingPlanOperator(PortingLedgerOperator):
    """Execute one approved plan to its verdicts: send in waves, look whether it arrived, wait without a worker.

    A retry, a clear or a new run of the same plan continues where the ledger stands; nothing is sent twice blindly.
    Killed by a person, it sends no more; the plan stays open until it is continued, closed or expired.

    :param plan_id: the plan. (templated)
    :return: state, progress and, if it stopped early, why.
    """

    operator_extra_links = links.PLAN

    template_fields: Sequence[str] = ("telnyx_conn_id", "plan_id")

    def __init__(self, *, plan_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_id = plan_id
        self._killed = False

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.deliveries.table import read_table
        from telnyx_porting.flows.findings.health import clear, health
        from telnyx_porting.flows.republish.advance import Halted, Wait, advance, progress

        settings, rows = account.settings, None
        if (source := settings.consumer_of_record).startswith("table:"):
            rows = table_rows(source.removeprefix("table:"), settings.evidence_query, settings.evidence_columns)
        with self.client(account) as client:
            while True:
                if rows is not None:
                    read_table(account, source, rows)
                step = advance(account, client, self.plan_id, go_on=lambda: not self._killed)
                so_far = progress(account, self.plan_id)
                self.log.info("plan %s: %s", self.plan_id, so_far)
                if not isinstance(step, Wait) or self._killed:
                    break
                pause = step.until - datetime.now(UTC)
                if pause > WAIT_HERE:
                    self.log.info("waiting until %s: %s", step.until.isoformat(timespec="seconds"), step.why)
                    self.defer(trigger=DateTimeTrigger(moment=step.until), method_name="execute")
                time.sleep(max(pause.total_seconds(), 0))
        summary = asdict(so_far)
        if isinstance(step, Halted):
            health(account, HALTED, f"Republishing stopped: {step.reason}")
            return {"state": "halted", "reason": step.reason, "counts": step.counts, "progress": summary}
        if isinstance(step, Wait):
            return {"state": "stopped", "reason": step.why, "counts": {}, "progress": summary}
        clear(account, HALTED)
        return {"state": "done", "counts": step.counts, "progress": summary}

    def on_kill(self) -> None:
        """Send no more: what is on its way gets its verdict at the next look."""
        self._killed = True
        self.log.warning("plan %s stays open: continue it, or close it, in the form of porting_republish", self.plan_id)


class TelnyxReportPortingPlanOperator(PortingLedgerOperator):
    """Say what came of a run: what its plan did, or why there is none. A finding says what did not arrive.

    :param plan_id: the plan; empty when there is none. (templated)
    :param otherwise: JSON of what to say without a plan: the XCom ``outcome`` of the plan operator. (templated)
    :return: ``outcome`` (``done``, ``halted``, ``rejected``, ``unanswered`` or ``open``; without a plan that of the
        plan operator) and ``text``; with a plan also counts, confirmation times in seconds and Markdown (``report``).
    """

    operator_extra_links = links.REPORT

    template_fields: Sequence[str] = ("telnyx_conn_id", "plan_id", "otherwise")

    def __init__(self, *, plan_id: str, otherwise: str = "null", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_id = plan_id
        self.otherwise = otherwise

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.findings.health import clear, health
        from telnyx_porting.flows.republish.report import report, still_lost

        if not self.plan_id:
            told: dict[str, Any] | None = json.loads(self.otherwise)
            if told is None:
                raise AirflowSkipException("no plan was made: nothing to report")
            self.log.info("%s", told["text"])
            return told
        result = report(account, self.plan_id)
        self.log.info("%s", result.markdown)
        clear(account, "approval_asked")
        if not result.all_arrived:
            detail = {"text": result.summary, "report": result.markdown}
            health(account, "not_arrived", detail)
        elif result.counts.get(Republish.ARRIVED) and not still_lost(account):
            clear(account, "not_arrived")
        return {
            "outcome": result.outcome,
            "text": result.summary,
            "counts": result.counts,
            "p50": result.confirm_p50,
            "p95": result.confirm_p95,
            "report": result.markdown,
        }
