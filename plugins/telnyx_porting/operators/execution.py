"""Operators that execute one approved plan, and say what came of it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import AirflowSkipException

from telnyx_porting.ledger.states import Republish
from telnyx_porting.operators import links
from telnyx_porting.operators.base import PortingLedgerOperator
from telnyx_porting.operators.evidence import table_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.sdk import Context

    from telnyx_porting.flows.account import Account

WAIT_HERE = timedelta(seconds=15)  # shorter waits cost less than a deferral
HALTED = "republish_halted"


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
        from telnyx_porting.flows.findings.health import clear, health
        from telnyx_porting.flows.republish.advance import Halted, Wait, advance, progress

        pull = self._pull(account)
        with self.client(account) as client:
            while True:
                step = advance(account, client, self.plan_id, go_on=lambda: not self._killed, pull=pull)
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

    def _pull(self, account: Account) -> Callable[[datetime], object] | None:
        """Return what reads your table, when it is the consumer of record."""
        from telnyx_porting.flows.deliveries.table import read_table

        settings = account.settings
        source = settings.consumer_of_record
        if not source.startswith("table:"):
            return None
        rows = table_rows(source.removeprefix("table:"), settings.evidence_query, settings.evidence_columns)
        return lambda now: read_table(replace(account, clock=lambda: now), source, rows)

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
