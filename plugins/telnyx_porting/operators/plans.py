"""Operators that make a republish plan, say what one would do, and close one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk.exceptions import AirflowSkipException

from telnyx_porting.errors import NothingToSendError, PlanError
from telnyx_porting.hooks.outputs import for_airflow
from telnyx_porting.operators import links
from telnyx_porting.operators.base import PortingLedgerOperator
from telnyx_porting.operators.forms import form_ids, form_time, refuse_what_would_be_ignored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.sdk import Context

    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.republish.plan import Plan
    from telnyx_porting.flows.republish.selection import Asked
    from telnyx_porting.flows.subscriptions import Destinations

Made = TypeVar("Made")


class TelnyxPlanPortingRepublishOperator(PortingLedgerOperator):
    """Make a plan of what to republish: what is missed, or what a person named. Skips when there is nothing to send.

    :param plan_id: use this stored plan instead of making one. (templated)
    :param event_ids: ids named by a person. (templated)
    :param porting_order_id: all events of this order. (templated)
    :param event_type: all events of this type between `created_from` and `created_to`. (templated)
    :param created_from: ISO 8601 time with zone. (templated)
    :param created_to: ISO 8601 time with zone. (templated)
    :param consents: kinds the watch would not send by itself, see ``ledger.states.Consent``. (templated)
    :param reason: why, for the report. (templated)
    :return: ``{"account", "plan_id", "hash", "size", "words"}``; what came of it in any case is the XCom ``outcome``:
        ``{"outcome", "text", "size", "left_out"}``, with ``planned``, ``nothing`` or ``held_back``.
    """

    operator_extra_links = links.PLAN

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

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.republish.plan import make_plan

        try:
            plan = self._stored(account)
            if plan is None:
                self._hold_back(context, account)
                plan = self._of_what_is_asked(context, account, make_plan)
        except NothingToSendError as nothing:
            _say(context, "nothing", str(nothing), **_left_out(nothing))
            raise AirflowSkipException(str(nothing)) from None
        self.plan_id = plan.id  # for the link
        self.log.info("plan %s: %s", plan.id, plan.words)
        _say(context, "planned", plan.words, size=plan.size, left_out=plan.left_out)
        return {
            "account": account.id,
            "plan_id": plan.id,
            "hash": plan.hash,
            "size": plan.size,
            "words": plan.words,
        }

    def _stored(self, account: Account) -> Plan | None:
        from telnyx_porting.flows.republish.plan import require_open

        form = {name: getattr(self, name) for name in self.template_fields if name != "telnyx_conn_id"}
        refuse_what_would_be_ignored(form)
        return require_open(account, self.plan_id) if self.plan_id else None

    def _of_what_is_asked(
        self, context: Context, account: Account, make: Callable[[Account, Destinations, Asked | None], Made]
    ) -> Made:
        from telnyx_porting.flows.republish.selection import Asked, read_order, select_ids
        from telnyx_porting.flows.subscriptions import read_destinations

        order_id, event_type = self.porting_order_id or None, self.event_type or None
        since, until = form_time("created_from", self.created_from), form_time("created_to", self.created_to)
        ids = [] if self.event_ids in (None, "", [], ()) else form_ids("event_ids", self.event_ids)
        by_selection = bool(order_id or event_type)
        with self.client(account) as client:
            if order_id is not None:
                read_order(account, client, order_id)
            if by_selection:
                ids = select_ids(account, order_id=order_id, event_type=event_type, since=since, until=until)
            if self._by_a_person and not ids:
                raise NothingToSendError("the selection holds no event")
            destinations = read_destinations(account, client)
        asked = None
        if self._by_a_person:
            why = self.reason or Asked.reason
            asked = Asked(ids, self.consents or (), leave_out=by_selection, by=_who(context), reason=why)
        return make(account, destinations, asked)

    def _hold_back(self, context: Context, account: Account) -> None:
        """Say at once what would only be found out at the first send."""
        if (reason := _not_now(account)) is None:
            return
        if self._by_a_person:
            raise PlanError(f"nothing can be sent now: {reason}")
        text = f"nothing is planned: {reason}"
        _say(context, "held_back", text)
        raise AirflowSkipException(text)

    @property
    def _by_a_person(self) -> bool:
        return bool(self.event_ids or self.porting_order_id or self.event_type)


class TelnyxPreviewPortingRepublishOperator(TelnyxPlanPortingRepublishOperator):
    """Say what a plan would send and to whom: the dry run. Stores no plan and sends nothing.

    Parameters as :class:`TelnyxPlanPortingRepublishOperator`.

    :return: ``{"outcome", "text", "size", "left_out"}``, with ``dry_run`` or ``nothing``; also the XCom ``outcome``.
    """

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.republish.plan import preview

        try:
            if (plan := self._stored(account)) is not None:
                size, words, left_out = plan.size, plan.words, plan.left_out
            else:
                draft = self._of_what_is_asked(context, account, preview)
                size, words, left_out = len(draft.ids), draft.words, draft.left_out
        except NothingToSendError as nothing:
            return _say(context, "nothing", str(nothing), **_left_out(nothing))
        reason = _not_now(account)
        text = f"dry run: {words}" + (f" Nothing would be sent now: {reason}." if reason else "")
        return _say(context, "dry_run", text, size=size, left_out=left_out)


class TelnyxClosePortingPlanOperator(PortingLedgerOperator):
    """Close a republish plan: what it has not sent is dropped, what it sent keeps its way to a verdict.

    :param plan_id: the plan. (templated)
    :return: ``{"outcome": "closed", "text"}``; also the XCom ``outcome``.
    """

    operator_extra_links = links.PLAN

    template_fields: Sequence[str] = ("telnyx_conn_id", "plan_id")

    def __init__(self, *, plan_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_id = plan_id

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.republish.plan import close_by

        closed = close_by(account, self.plan_id, _who(context))
        return _say(context, "closed", f"plan {self.plan_id} {'is closed' if closed else 'was closed already'}")


def _say(context: Context, outcome: str, text: str, **facts: Any) -> dict[str, Any]:
    """Leave in XCom what came of it, for the report."""
    told: dict[str, Any] = for_airflow({"outcome": outcome, "text": text, **facts})
    context["ti"].xcom_push(key="outcome", value=told)
    return told


def _left_out(nothing: NothingToSendError) -> dict[str, Any]:
    return {"left_out": nothing.left_out} if nothing.left_out else {}


def _not_now(account: Account) -> str | None:
    from telnyx_porting.flows.republish.gates import unsafe

    with account.ledger.read() as connection:
        stop = unsafe(connection, account.id, account.settings, account.clock())
    return None if stop is None else stop.reason


def _who(context: Context) -> str:
    from telnyx_porting.flows.republish.selection import Asked

    return str(getattr(context["dag_run"], "triggering_user_name", None) or Asked.by)
