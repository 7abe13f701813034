"""The operator that makes a republish plan, says what it will do, or closes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowSkipException

from telnyx_porting.errors import NothingToSendError, PlanError
from telnyx_porting.flows.republish import plan as plans
from telnyx_porting.flows.republish.gates import unsafe
from telnyx_porting.flows.republish.orders import read_order
from telnyx_porting.flows.republish.selection import select_ids
from telnyx_porting.flows.subscriptions import read_destinations
from telnyx_porting.hooks.outputs import for_airflow
from telnyx_porting.operators.base import PortingLedgerOperator
from telnyx_porting.operators.forms import form_ids, form_time, refuse_what_would_be_ignored

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient


class TelnyxPlanPortingRepublishOperator(PortingLedgerOperator):
    """Make a plan of what to republish: what is missed, or what a person named. Skips when there is nothing to send.

    :param plan_id: use this stored plan instead of making one. (templated)
    :param event_ids: ids named by a person. (templated)
    :param porting_order_id: all events of this order. (templated)
    :param event_type: all events of this type between `created_from` and `created_to`. (templated)
    :param created_from: ISO 8601 time with zone. (templated)
    :param created_to: ISO 8601 time with zone. (templated)
    :param consents: kinds the watch would not send by itself, see ``flows.republish.plan.CONSENTS``. (templated)
    :param reason: why, for the report. (templated)
    :param preview: say what would be sent, then skip; no plan is stored. (templated)
    :param close: close the plan `plan_id` instead of continuing it; what it has not sent is dropped. (templated)
    :return: ``{"account", "plan_id", "hash", "size", "words"}``.
    """

    template_fields: Sequence[str] = (
        "telnyx_conn_id",
        "plan_id",
        "event_ids",
        "porting_order_id",
        "event_type",
        "created_from",
        "created_to",
        "consents",
        "reason",
        "preview",
        "close",
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
        reason: str | None = None,
        preview: bool = False,
        close: bool = False,
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
        self.preview = preview
        self.close = close

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        """Make or load the plan."""
        form = {name: getattr(self, name) for name in self.template_fields if name not in ("telnyx_conn_id", "preview")}
        refuse_what_would_be_ignored({**form, "dry_run": self.preview})
        if self.close:
            self._close(context, account)
        if self.plan_id:
            found: plans.Plan | None = plans.require_open(account, self.plan_id)
        else:
            found = self._make(context, account)
        if found is None:
            self._end(context, "nothing", "nothing to republish")
        self.log.info("plan %s: %s", found.id or "(dry run)", found.words)
        if self.preview:
            reason = self._not_now(account)
            text = f"dry run: {found.words}" + (f" Nothing would be sent now: {reason}." if reason else "")
            self._end(context, "dry_run", text, size=found.size, left_out=found.left_out)
        self._say(context, "planned", found.words, size=found.size, left_out=found.left_out)
        return {
            "account": account.id,
            "plan_id": found.id,
            "hash": found.hash,
            "size": found.size,
            "words": found.words,
        }

    def _make(self, context: Context, account: Account) -> plans.Plan | None:
        by_selection = bool(self.porting_order_id or self.event_type)
        ids = None if self.event_ids in (None, "", [], ()) else form_ids("event_ids", self.event_ids)
        times = form_time("created_from", self.created_from), form_time("created_to", self.created_to)
        self._check(context, account, by_a_person=by_selection or ids is not None)
        with self.client(account) as client:
            if by_selection:
                ids = self._select(account, client, *times)
            if ids is not None and not ids:
                self._end(context, "nothing", "the selection holds no event")
            destinations = read_destinations(account, client)
        try:
            return plans.make_plan(
                account,
                destinations,
                reason=self.reason or ("missed notifications" if ids is None else "asked for by a person"),
                by=_who(context) if ids is not None else "schedule",
                event_ids=ids,
                consents=self.consents or (),
                leave_out=by_selection,
                dry_run=self.preview,
            )
        except NothingToSendError as nothing:
            self._end(context, "nothing", str(nothing), left_out=nothing.left_out)

    def _check(self, context: Context, account: Account, *, by_a_person: bool) -> None:
        """Say at once what would only be found out at the first send."""
        if self.preview or not (reason := self._not_now(account)):
            return
        if by_a_person:
            raise PlanError(f"nothing can be sent now: {reason}")
        self._end(context, "held_back", f"nothing is planned: {reason}")

    def _not_now(self, account: Account) -> str | None:
        with account.ledger.read() as connection:
            stop = unsafe(connection, account.id, account.settings, account.clock())
        return None if stop is None else stop.reason

    def _close(self, context: Context, account: Account) -> NoReturn:
        plan_id, who = str(self.plan_id), _who(context)
        plans.load_plan(account, plan_id)
        with account.ledger.write() as connection:
            closed = plans.close_plan(connection, account.id, plan_id, account.clock(), who, f"closed by {who}")
        self._end(context, "closed", f"plan {plan_id} {'is closed' if closed else 'was closed already'}")

    def _select(
        self, account: Account, client: AccountClient, since: datetime | None, until: datetime | None
    ) -> list[str]:
        order_id, event_type = self.porting_order_id or None, self.event_type or None
        if order_id is not None:
            read_order(account, client, order_id)
        return select_ids(account, order_id=order_id, event_type=event_type, since=since, until=until)

    def _say(self, context: Context, outcome: str, text: str, **facts: Any) -> None:
        context["ti"].xcom_push(key="outcome", value=for_airflow({"outcome": outcome, "text": text, **facts}))

    def _end(self, context: Context, outcome: str, text: str, **facts: Any) -> NoReturn:
        """Let the run do no more; what came of it stays in XCom."""
        self._say(context, outcome, text, **facts)
        raise AirflowSkipException(text)


def _who(context: Context) -> str:
    return str(getattr(context["dag_run"], "triggering_user_name", None) or "a person")
