"""The operators, and what DAGs need beside them, to be imported from here."""

from __future__ import annotations

from telnyx_porting.operators.alerts import (
    TelnyxAlertPortingOrdersOperator,
    TelnyxReconcilePortingFindingsOperator,
    TelnyxSendPortingAlertsOperator,
    TelnyxSyncPortingOrdersOperator,
)
from telnyx_porting.operators.api import (
    TelnyxGetPortingEventOperator,
    TelnyxListPortingEventsOperator,
    TelnyxRepublishPortingEventsOperator,
)
from telnyx_porting.operators.assets import EVENTS, SCANNED, WEBHOOKS
from telnyx_porting.operators.evidence import (
    TelnyxReadPortingDeliveriesOperator,
    TelnyxReadPortingTableOperator,
    TelnyxSettlePortingDeliveriesOperator,
)
from telnyx_porting.operators.execution import (
    TelnyxApprovePortingPlanOperator,
    TelnyxExecutePortingPlanOperator,
    TelnyxReportPortingPlanOperator,
)
from telnyx_porting.operators.forms import asked_by_form, refuse_unknown_keys, republish_form
from telnyx_porting.operators.ledger import (
    TelnyxAuditPortingLedgerOperator,
    TelnyxBackfillPortingEventsOperator,
    TelnyxMaintainPortingLedgerOperator,
    TelnyxScanPortingEventsOperator,
)
from telnyx_porting.operators.plans import (
    TelnyxClosePortingPlanOperator,
    TelnyxPlanPortingRepublishOperator,
    TelnyxPreviewPortingRepublishOperator,
)
from telnyx_porting.operators.preflight import TelnyxPreflightPortingOperator
from telnyx_porting.operators.retries import (
    POOL,
    TelnyxFailRunOperator,
    TelnyxRetryPolicy,
    telnyx_task_defaults,
    watch_task_defaults,
)

__all__ = [
    "EVENTS",
    "POOL",
    "SCANNED",
    "WEBHOOKS",
    "TelnyxAlertPortingOrdersOperator",
    "TelnyxApprovePortingPlanOperator",
    "TelnyxAuditPortingLedgerOperator",
    "TelnyxBackfillPortingEventsOperator",
    "TelnyxClosePortingPlanOperator",
    "TelnyxExecutePortingPlanOperator",
    "TelnyxFailRunOperator",
    "TelnyxGetPortingEventOperator",
    "TelnyxListPortingEventsOperator",
    "TelnyxMaintainPortingLedgerOperator",
    "TelnyxPlanPortingRepublishOperator",
    "TelnyxPreflightPortingOperator",
    "TelnyxPreviewPortingRepublishOperator",
    "TelnyxReadPortingDeliveriesOperator",
    "TelnyxReadPortingTableOperator",
    "TelnyxReconcilePortingFindingsOperator",
    "TelnyxReportPortingPlanOperator",
    "TelnyxRepublishPortingEventsOperator",
    "TelnyxRetryPolicy",
    "TelnyxScanPortingEventsOperator",
    "TelnyxSendPortingAlertsOperator",
    "TelnyxSettlePortingDeliveriesOperator",
    "TelnyxSyncPortingOrdersOperator",
    "asked_by_form",
    "refuse_unknown_keys",
    "republish_form",
    "telnyx_task_defaults",
    "watch_task_defaults",
]
