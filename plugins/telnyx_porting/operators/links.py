"""The links from a task to where its result is seen: the console's pages, and Telnyx's portal.

Airflow evaluates them on the worker when the task ends and keeps them in XCom; nothing has to be registered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from telnyx_porting.hooks.console import settings_of
from telnyx_porting.links import console, portal

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class TelnyxPortingOrderLink(BaseOperatorLink):
    """Open the operator's ``porting_order_id`` in Telnyx's portal; without one, the portal's porting page."""

    @property
    def name(self) -> str:
        return "Order in Telnyx's portal"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        return portal(_text(operator, "porting_order_id"))


class _ConsoleLink(BaseOperatorLink):
    """Open a page of the console about the operator's account; empty where the console has none of it."""

    label, page, named = "", "", ""
    """What the link is called, its page, and the operator's field that says which one."""

    @property
    def name(self) -> str:
        return self.label

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        account = _text(operator, "telnyx_conn_id")
        own = settings_of(account)
        one = _text(operator, self.named) if self.named else ""
        return console(own.console_url, account, *filter(None, (self.page, one))) if account in own.accounts else ""


class TelnyxPortingOrderPageLink(_ConsoleLink):
    """Open the order, or all of them."""

    label, page, named = "Order in Port-in", "orders", "porting_order_id"


class TelnyxPortingPlanLink(_ConsoleLink):
    """Open the plan, or all of them."""

    label, page, named = "Plan in Port-in", "plans", "plan_id"


class TelnyxPortingReportLink(_ConsoleLink):
    """Open the report, which is on the plan's page."""

    label, page, named = "Report in Port-in", "plans", "plan_id"


class TelnyxPortingFindingsLink(_ConsoleLink):
    """Open what needs somebody now."""

    label = "What needs somebody"


class TelnyxPortingMissedLink(_ConsoleLink):
    """Open the missed notifications."""

    label, page = "Missed notifications", "missed"


class TelnyxPortingHealthLink(_ConsoleLink):
    """Open how complete and how well everything is."""

    label, page = "Health of the watch", "health"


def _text(operator: BaseOperator, field: str) -> str:
    value = getattr(operator, field, None)
    return value if isinstance(value, str) else ""
