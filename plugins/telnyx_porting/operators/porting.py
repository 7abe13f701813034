"""The operators, to be imported from here."""

from __future__ import annotations

from telnyx_porting.operators.api import TelnyxGetPortingEventOperator, TelnyxListPortingEventsOperator
from telnyx_porting.operators.republish import TelnyxRepublishPortingEventsOperator
from telnyx_porting.operators.retries import TelnyxRetryPolicy, telnyx_task_defaults

__all__ = [
    "TelnyxGetPortingEventOperator",
    "TelnyxListPortingEventsOperator",
    "TelnyxRepublishPortingEventsOperator",
    "TelnyxRetryPolicy",
    "telnyx_task_defaults",
]
