"""One odd row never stops a plan: whatever one event or its order holds, all others are planned, told and listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from telnyx_porting.errors import PlanError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.status import status
from telnyx_porting.flows.republish.gates import approve
from telnyx_porting.flows.republish.plan import make_plan
from telnyx_porting.flows.republish.report import report
from telnyx_porting.flows.republish.selection import Asked
from telnyx_porting.flows.subscriptions import Destinations
from telnyx_porting.ledger.tables import orders, republishes
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT, NOW, OLD, add_event, add_feed, add_watch

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

ORDER = "0c28cec1-b947-42af-a4b9-36976b4b76b0"
CRM = Destinations(("https://crm.example.com/hook",), ())
ODD_IDS = ["e-7", "", "\x01", "x" * 400, "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26"]
ODD_COLUMNS: list[tuple[str, str, Any]] = [
    ("porting_events", "created_at", 1),
    ("porting_events", "created_at", 2**62),
    ("porting_events", "updated_at", 2**62),
    ("porting_events", "payload", "[1"),
    ("porting_events", "natural_at", "soon"),
    ("porting_orders", "foc_actual", 2**62),
    ("porting_orders", "codes", "[[1, 2], 3, null"),
    ("porting_orders", "customer_reference", "\x01not json"),
    ("porting_orders", "webhook_url", "http://[::1"),
    ("porting_orders", "webhook_url", "\x01 no url"),
]


@pytest.fixture
def account(ledger: Ledger) -> Account:
    add_feed(ledger)
    add_watch(ledger)
    return Account(ledger, ACCOUNT, Settings(consumer_of_record="receiver"), lambda: NOW)


def planned(account: Account) -> set[str]:
    """Make, approve, report and list a plan; return what it holds."""
    plan = make_plan(account, CRM)
    assert "Goes to: crm.example.com/hook" in plan.words
    approve(account, plan.id, plan.hash, "ann")
    assert report(account, plan.id).summary
    assert f"open plan {plan.id}: {plan.size} events" in status(account.ledger, NOW)
    with account.ledger.read() as connection:
        return {row.event_id for row in connection.execute(republishes.select())}


@pytest.mark.parametrize("odd", ODD_IDS)
def test_what_no_request_can_name_is_left_out(account: Account, odd: str) -> None:
    good = add_event(account.ledger, order_id=ORDER, delivery="missed")
    add_event(account.ledger, id=odd, delivery="missed")
    assert planned(account) == {good}


@pytest.mark.parametrize("odd", ODD_IDS)
def test_what_no_request_can_name_is_counted_in_a_selection_and_refused_by_name(account: Account, odd: str) -> None:
    good = add_event(account.ledger, order_id=ORDER, delivery="missed")
    add_event(account.ledger, id=odd, order_id=ORDER, type="porting_order.new_comment", delivery="missed")
    with pytest.raises(PlanError, match="is no UUID"):
        make_plan(account, CRM, Asked([good, odd]))
    plan = make_plan(account, CRM, Asked([good, odd], leave_out=True))
    assert (plan.size, plan.left_out) == (1, {"no_uuid": 1})
    assert "Left out: 1 with an id that cannot be asked for." in plan.words


@pytest.mark.parametrize(("table", "column", "value"), ODD_COLUMNS)
def test_what_a_row_holds_stops_no_plan(account: Account, table: str, column: str, value: Any) -> None:
    good = add_event(account.ledger, delivery="missed")
    add_event(account.ledger, order_id=ORDER, delivery="missed")
    with account.ledger.write() as connection:
        connection.execute(orders.insert().values(account=ACCOUNT, id=ORDER, updated_at=OLD))
        where = "order_id" if table == "porting_events" else "id"
        connection.execute(
            text(f"UPDATE {table} SET {column} = :value WHERE {where} = :id"), {"value": value, "id": ORDER}
        )
    assert good in planned(account)
