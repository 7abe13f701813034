"""From a task to where its result is seen: what Airflow keeps for the buttons of a run, and where they lead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.links import MOUNT, PORTAL, console
from telnyx_porting.operators import porting
from telnyx_porting.operators.base import PortingLedgerOperator
from tests.support.rows import ACCOUNT
from tests.support.runs import run

if TYPE_CHECKING:
    from tests.support.runs import Scene

pytestmark = pytest.mark.airflow
AIR = "https://air.example.com/flow"
BELOW = f"{AIR}/telnyx-porting/"
MINE = f"?account={ACCOUNT}"
UUID = "[0-9a-f-]{36}"
LINKS: dict[str, dict[str, str]] = {
    "porting_scan": {"scan": re.escape(f"{BELOW}health{MINE}")},
    "porting_stuck_events": {"look.find": re.escape(BELOW + MINE), "look.tell": re.escape(BELOW + MINE)},
    "porting_exception_alerts": {"look": re.escape(BELOW + MINE)},
    "porting_missed_notifications": {
        "look.decide": re.escape(f"{BELOW}missed{MINE}"),
        "look.plan": re.escape(f"{BELOW}plans/") + UUID + re.escape(MINE),
    },
    "porting_republish": {
        "plan": re.escape(f"{BELOW}plans/") + UUID + re.escape(MINE),
        "approve": re.escape(f"{BELOW}plans/") + UUID + re.escape(MINE),
        "execute": re.escape(f"{BELOW}plans/") + UUID + re.escape(MINE),
        "report": re.escape(f"{BELOW}plans/") + UUID + re.escape(MINE),
    },
}


def kept(ended: Any) -> dict[str, str]:
    """The links that a run left in XCom, by task."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.query(XComModel).filter(XComModel.dag_id == ended.dag_id, XComModel.run_id == ended.run_id)
        found = {(row.task_id, row.key): XComModel.deserialize_value(row) for row in rows}
    return {task: link for (task, key), link in found.items() if key.startswith("_link_TelnyxPorting")}


@pytest.mark.parametrize("name", LINKS)
def test_tasks_lead_to_their_pages(scene: Scene, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"{AIR}/")
    found = kept(run(scene, name))
    for task, address in LINKS[name].items():
        assert re.fullmatch(address, found[task]), found


def test_every_operator_with_a_ledger_leads_to_a_page() -> None:
    """Beside the last task of a run, which only says that another one failed."""
    operators = [getattr(porting, name) for name in porting.__all__ if name.startswith("Telnyx")]
    ours = [one for one in operators if isinstance(one, type) and issubclass(one, PortingLedgerOperator)]
    assert len(ours) > 10
    for operator in [*ours, porting.TelnyxApprovePortingPlanOperator]:
        assert [link.name for link in operator.operator_extra_links], operator


@pytest.mark.parametrize(
    ("own", "airflow", "expected"),
    [
        ("", f"{AIR}/", AIR),
        ("https://desk.example.com", AIR, "https://desk.example.com"),
        ("", "", ""),
        ("", "/", ""),
        ("", "air.example.com", ""),
    ],
)
def test_the_console_is_where_airflow_is_unless_a_setting_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, own: str, airflow: str, expected: str
) -> None:
    monkeypatch.setenv("TELNYX_PORTING_CONSOLE_URL", own)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", airflow)
    assert load_settings(ACCOUNT).console_url == expected


def test_orders_lead_to_both_sites_and_foreign_accounts_to_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", AIR)

    def links(**given: Any) -> list[str]:
        operator = porting.TelnyxListPortingEventsOperator(task_id="x", **given)
        return [link.get_link(operator, ti_key=None) for link in operator.operator_extra_links]  # type: ignore[arg-type]

    assert links(porting_order_id="o1") == [f"{BELOW}orders/o1{MINE}", f"{PORTAL}/orders/o1"]
    assert links() == [f"{BELOW}orders{MINE}", PORTAL]
    assert links(telnyx_conn_id="elsewhere") == ["", PORTAL]


@pytest.mark.parametrize("page", ["", "orders", "orders/o1", "plans", "plans/p1", "missed", "health"])
def test_every_address_is_a_page_of_the_console(page: str) -> None:
    from starlette.routing import Match

    from telnyx_porting.web.console.app import create_app

    below = urlsplit(console(AIR, ACCOUNT, *page.split("/") if page else ())).path.removeprefix(f"/flow/{MOUNT}")
    asked = {"type": "http", "method": "GET", "path": below, "root_path": "", "headers": []}
    assert any(route.matches(asked)[0] is Match.FULL for route in create_app().routes)
