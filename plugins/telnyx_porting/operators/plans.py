"""The operator that makes a republish plan, says what it will do, or closes one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from telnyx_porting.errors import PlanError
from telnyx_porting.flows import plan as plans
from telnyx_porting.flows.republish_gate import unsafe
from telnyx_porting.hooks.inputs import as_ids
from telnyx_porting.operators.base import PortingLedgerOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings


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
        reason: str = "missed notifications",
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

    def work(self, context: Context, ledger: Ledger) -> dict[str, Any]:
        """Make or load the plan."""
        knobs, account, now = self.settings(), self.telnyx_conn_id, datetime.now(UTC)
        if self.close:
            self._close(ledger, account, now, _who(context))
        if self.plan_id:
            found: plans.Plan | None = plans.require_open(ledger, account, self.plan_id, now)
        else:
            ids = self._named(ledger)
            self._check(ledger, account, knobs, now, ids)
            with self.client(ledger) as client:
                destinations = plans.read_destinations(ledger, account, client, now)
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
                dry_run=self.preview,
            )
        if found is None:
            raise AirflowSkipException("nothing to republish")
        self.log.info("plan %s: %s", found.id or "(dry run)", found.words)
        if self.preview:
            raise AirflowSkipException(f"dry run: {found.words}")
        return {"account": account, "plan_id": found.id, "hash": found.hash, "size": found.size, "words": found.words}

    def _check(self, ledger: Ledger, account: str, knobs: Settings, now: datetime, ids: list[str] | None) -> None:
        """Say at once what would only be found out at the first send."""
        if ids is not None and not ids:
            raise AirflowSkipException("the selection holds no event")
        with ledger.read() as connection:
            stop = unsafe(connection, account, knobs, now)
        if stop is None:
            return
        if self.preview:
            self.log.warning("nothing would be sent now: %s", stop.reason)
        elif ids is None:
            raise AirflowSkipException(f"nothing is planned: {stop.reason}")
        else:
            raise PlanError(f"nothing can be sent now: {stop.reason}")

    def _close(self, ledger: Ledger, account: str, now: datetime, who: str) -> None:
        if not self.plan_id:
            raise PlanError("plan_id: empty, expected the id of the plan to close")
        plans.load_plan(ledger, account, self.plan_id)
        with ledger.write() as connection:
            closed = plans.close_plan(connection, account, self.plan_id, now, who, f"closed by {who}")
        raise AirflowSkipException(f"plan {self.plan_id} {'is closed' if closed else 'was closed already'}")

    def _named(self, ledger: Ledger) -> list[str] | None:
        if self.event_ids not in (None, "", [], ()):
            return as_ids("event_ids", self.event_ids)
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


def _time(field: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        value = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        value = None
    if value is None or value.tzinfo is None:
        raise PlanError(f"{field}: {text!r} is no time with a zone; expected something like 2026-10-01T00:00:00Z")
    return value.astimezone(UTC)


def _who(context: Context) -> str:
    return str(getattr(context["dag_run"], "triggering_user_name", None) or "a person")
