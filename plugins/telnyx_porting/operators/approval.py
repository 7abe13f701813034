"""The operator that lets a republish plan pass, or asks a person."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from telnyx_porting.compat import TaskAwaitingInput
from telnyx_porting.errors import PlanError
from telnyx_porting.escaping import for_markdown
from telnyx_porting.hooks.inputs import check_ids
from telnyx_porting.hooks.ledger import DEFAULT_CONN_ID, TelnyxLedgerHook
from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.hooks.telnyx import TelnyxHook
from telnyx_porting.ledger.states import CloseReason
from telnyx_porting.operators import links

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.sdk import Context

    from telnyx_porting.flows.account import Account


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
        from telnyx_porting.flows.republish.approval import POLICY, approve, needs_person
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
        from telnyx_porting.flows.republish.approval import approve
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
