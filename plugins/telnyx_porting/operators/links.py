"""The link from a task to its order in Telnyx's portal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PORTAL = "https://portal.telnyx.com/#/porting"


class TelnyxPortingOrderLink(BaseOperatorLink):
    """
    Open the order that the task was about.

    The portal's address is published, that of a single order is not: where the portal does not know it, it opens its
    porting page.
    """

    @property
    def name(self) -> str:
        return "Order in Telnyx's portal"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Build the link from the operator's ``porting_order_id``; evaluated on the worker when the task ends."""
        order = getattr(operator, "porting_order_id", None)
        return f"{PORTAL}/orders/{order}" if isinstance(order, str) and order else PORTAL
