"""Operators that tell people: sync the orders, reconcile the findings, send the alerts."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.observability import stats

from telnyx_porting.flows.alerts import send_due
from telnyx_porting.flows.findings import reconcile
from telnyx_porting.flows.hints_live import keep_exception_types
from telnyx_porting.flows.orders import read_orders, sync_orders
from telnyx_porting.notifications.deliver import deliver
from telnyx_porting.operators.base import PortingLedgerOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class TelnyxSyncPortingOrdersOperator(PortingLedgerOperator):
    """Bring the ledger's orders up to date, from the events it holds and from GET /porting_orders.

    :param full: read every order, not only those that are due.
    :return: counts, as JSON.
    """

    def __init__(self, *, full: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.full = full

    def execute(self, context: Context) -> dict[str, Any]:
        """Sync one account."""
        ledger, account, now = self.ledger(), self.telnyx_conn_id, datetime.now(UTC)
        with self.client() as client:
            result = sync_orders(ledger, account, client, self.settings(), now, full=self.full)
            keep_exception_types(ledger, account, client, now)
        return asdict(result)


class TelnyxReconcilePortingFindingsOperator(PortingLedgerOperator):
    """Find what is true now that a person should know, and queue its alerts. Reads and writes the ledger only.

    :return: counts, as JSON.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Look at one account."""
        result = reconcile(self.ledger(), self.telnyx_conn_id, self.settings(), datetime.now(UTC))
        stats.gauge("telnyx_porting.findings_open", result.open)
        self.log.info(
            "%s: %d findings open; %d opened, %d changed, %d resolved; %d alerts wait",
            result.account,
            result.open,
            result.opened,
            result.changed,
            result.resolved,
            result.queued,
        )
        return asdict(result)


class TelnyxSendPortingAlertsOperator(PortingLedgerOperator):
    """Send the alerts that are due to the configured channels. Safe to retry, to clear and to run twice at once.

    Before an alert about an order leaves, the order is read once more: if it moved on, nothing is said. A channel that
    fails is tried again by the next run, and does not fail the task: it becomes a `health` finding, which the other
    channels tell.

    :return: counts, as JSON.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Send for one account."""
        ledger, account, now = self.ledger(), self.telnyx_conn_id, datetime.now(UTC)

        def read_again(ids: Sequence[str]) -> None:
            with self.client() as client:
                read_orders(ledger, account, client, ids, now)

        result = send_due(ledger, account, self.settings(), now, deliver, read_again)
        stats.incr("telnyx_porting.alerts_sent", result.messages)
        self.log.info("%s: %d messages about %d findings sent", result.account, result.messages, result.findings)
        return asdict(result)
