"""The operators, to be imported from here."""

from __future__ import annotations

from telnyx_porting.operators.alerts import (
    TelnyxReconcilePortingFindingsOperator,
    TelnyxSendPortingAlertsOperator,
    TelnyxSyncPortingOrdersOperator,
)
from telnyx_porting.operators.api import TelnyxGetPortingEventOperator, TelnyxListPortingEventsOperator
from telnyx_porting.operators.ledger import (
    TelnyxReadPortingDeliveriesOperator,
    TelnyxScanPortingEventsOperator,
    TelnyxSettlePortingDeliveriesOperator,
)
from telnyx_porting.operators.plans import (
    TelnyxApprovePortingPlanOperator,
    TelnyxExecutePortingPlanOperator,
    TelnyxPlanPortingRepublishOperator,
    TelnyxReportPortingPlanOperator,
)
from telnyx_porting.operators.republish import TelnyxRepublishPortingEventsOperator
from telnyx_porting.operators.retries import TelnyxRetryPolicy, telnyx_task_defaults

__all__ = [
    "TelnyxApprovePortingPlanOperator",
    "TelnyxExecutePortingPlanOperator",
    "TelnyxGetPortingEventOperator",
    "TelnyxListPortingEventsOperator",
    "TelnyxPlanPortingRepublishOperator",
    "TelnyxReadPortingDeliveriesOperator",
    "TelnyxReconcilePortingFindingsOperator",
    "TelnyxReportPortingPlanOperator",
    "TelnyxRepublishPortingEventsOperator",
    "TelnyxRetryPolicy",
    "TelnyxScanPortingEventsOperator",
    "TelnyxSendPortingAlertsOperator",
    "TelnyxSettlePortingDeliveriesOperator",
    "TelnyxSyncPortingOrdersOperator",
    "telnyx_task_defaults",
]
