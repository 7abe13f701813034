"""Operators that tell people: sync the orders, reconcile the findings, send the alerts; each alone, or all in one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from telnyx_porting.compat import stats
from telnyx_porting.operators import links
from telnyx_porting.operators.base import PortingLedgerOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from telnyx_porting.flows.account import Account


class TelnyxSyncPortingOrdersOperator(PortingLedgerOperator):
    """Bring the ledger's orders up to date, from the events it holds and from GET /porting_orders.

    :return: counts, as JSON.
    """

    operator_extra_links = links.FINDINGS

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.alerts.facts import keep_exception_types
        from telnyx_porting.flows.orders.sync import sync_orders

        with self.client(account) as client:
            result = sync_orders(account, client)
            keep_exception_types(account, client)
        return asdict(result)


class TelnyxReconcilePortingFindingsOperator(PortingLedgerOperator):
    """Find what is true now that a person should know, and queue its alerts. Reads and writes the ledger only.

    :return: counts, as JSON.
    """

    operator_extra_links = links.FINDINGS

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.alerts.outbox import enqueue
        from telnyx_porting.flows.findings.reconcile import reconcile

        result = reconcile(account, enqueue)
        stats.gauge("telnyx_porting.findings_open", result.open, tags={"account": account.id})
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

    operator_extra_links = links.FINDINGS

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.alerts.send import send_due
        from telnyx_porting.flows.orders.sync import read_orders
        from telnyx_porting.notifications.deliver import deliver

        def read_again(ids: Sequence[str]) -> None:
            with self.client(account) as client:
                read_orders(account, client, ids)

        result = send_due(account, deliver, read_again)
        stats.incr("telnyx_porting.alerts_sent", result.messages, tags={"account": account.id})
        self.log.info("%s: %d messages about %d findings sent", result.account, result.messages, result.findings)
        return asdict(result)


class TelnyxAlertPortingOrdersOperator(
    TelnyxSyncPortingOrdersOperator, TelnyxReconcilePortingFindingsOperator, TelnyxSendPortingAlertsOperator
):
    """Sync the orders, find and tell, in one task: from a webhook to its alert every hand-over would cost a second.

    When the orders cannot be read, what is known all the same is told before the task fails.

    :return: counts of all three, as JSON.
    """

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        told, failure = {}, None
        try:
            told = TelnyxSyncPortingOrdersOperator.work(self, context, account)
        except Exception as error:  # raised below
            failure = error
        told |= TelnyxReconcilePortingFindingsOperator.work(self, context, account)
        told |= TelnyxSendPortingAlertsOperator.work(self, context, account)
        if failure is not None:
            raise failure
        return told
