"""The links from a task to where its result is seen: the console's pages, and Telnyx's portal.

Airflow evaluates them on the worker when the task ends and keeps them in XCom; nothing has to be registered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from telnyx_porting.hooks.settings import load_settings
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


class TelnyxPortingConsoleLink(BaseOperatorLink):
    """Open a page of the console about the operator's account; empty where the console has none of it.

    :param label: what the link is called
    :param page: the page; empty: what needs somebody now
    :param named: the operator's field that says which one; where it is empty, all are shown
    """

    def __init__(self, label: str, page: str = "", named: str = "") -> None:
        self.label, self.page, self.named = label, page, named

    @property
    def name(self) -> str:
        return self.label

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        account = _text(operator, "telnyx_conn_id")
        own = load_settings(account)
        path = filter(None, (self.page, _text(operator, self.named)))
        return console(own.console_url, account, *path) if account in own.accounts else ""


ORDER = (TelnyxPortingConsoleLink("Order in Port-in", "orders", "porting_order_id"), TelnyxPortingOrderLink())
PLAN = (TelnyxPortingConsoleLink("Plan in Port-in", "plans", "plan_id"),)
REPORT = (TelnyxPortingConsoleLink("Report in Port-in", "plans", "plan_id"),)
FINDINGS = (TelnyxPortingConsoleLink("What needs somebody"),)
MISSED = (TelnyxPortingConsoleLink("Missed notifications", "missed"),)
HEALTH = (TelnyxPortingConsoleLink("Health of the watch", "health"),)


def _text(operator: BaseOperator, field: str) -> str:
    value = getattr(operator, field, None)
    return value if isinstance(value, str) else ""
