"""What comes in from elsewhere: half an emoji in a comment on its way out, and numbers where ids are expected."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from telnyx_porting.errors import SettingsError
from telnyx_porting.operators.base import PortingLedgerOperator
from telnyx_porting.operators.porting import (
    TelnyxApprovePortingPlanOperator,
    TelnyxExecutePortingPlanOperator,
    TelnyxGetPortingEventOperator,
    TelnyxListPortingEventsOperator,
    TelnyxPlanPortingRepublishOperator,
    TelnyxReportPortingPlanOperator,
    TelnyxRepublishPortingEventsOperator,
)
from telnyx_porting.sensors.porting import TelnyxPortingEventSensor, TelnyxPortingOrderStatusSensor
from tests.support.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.flows.account import Account
    from telnyx_porting.ledger.engine import Ledger

pytestmark = pytest.mark.airflow
GIVEN = "half an emoji \ud83d, nothing \x00, a whole one \U0001f600, Zo\u00eb"
CARRIED = "half an emoji \ufffd, nothing \ufffd, a whole one \U0001f600, Zo\u00eb"
ID = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"


# -- out ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def comment(sandbox: RunningSandbox, conn_id: str) -> str:
    """An event whose comment no UTF-8 can say."""
    (made,) = sandbox.act(sandbox.order(), "comment", body=GIVEN)
    sandbox.complete(made["id"])
    return str(made["id"])


class Telling(PortingLedgerOperator):
    """Any operator with a ledger."""

    def work(self, context: Any, account: Account) -> dict[str, Any]:
        return {"payload": {"comment": {"body": GIVEN}}}


def carried(result: Any) -> Any:
    """Send it as a task sends its result, and as PostgreSQL keeps it."""
    assert b"\\u0000" not in msgspec.json.encode(result)
    return msgspec.msgpack.decode(msgspec.msgpack.encode(result))


@pytest.mark.parametrize("kind", ["list", "get", "with a ledger"])
def test_half_an_emoji_reaches_the_xcom_as_one_character(
    comment: str, ledger: Ledger, context: dict[str, Any], kind: str
) -> None:
    operators: dict[str, Callable[[], Any]] = {
        "list": lambda: TelnyxListPortingEventsOperator(task_id="x", include_payload=True),
        "get": lambda: TelnyxGetPortingEventOperator(task_id="x", event_id=comment, include_payload=True),
        "with a ledger": lambda: Telling(task_id="x"),
    }
    result = carried(operators[kind]().execute(context))
    fact = result[0] if isinstance(result, list) else result
    assert fact["payload"]["comment"]["body"] == CARRIED


def test_half_an_emoji_reaches_the_file_as_it_is(comment: str, context: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "events.jsonl"
    operator = TelnyxListPortingEventsOperator(task_id="x", include_payload=True, output_path=target.as_uri())
    assert operator.execute(context)["count"] == 1  # type: ignore[call-overload]
    (line,) = target.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["payload"]["comment"]["body"] == GIVEN


@pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "trigger"])
def test_what_a_sensor_finds_can_be_carried(
    comment: str, context: dict[str, Any], deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are whatever the provider calls them."""
    import asyncio

    from telnyx_porting.triggers.porting import TelnyxPortingEventTrigger

    async def strange(*_: Any) -> dict[str, Any]:
        return {"count": 1, "event_ids": [GIVEN]}

    monkeypatch.setattr(TelnyxPortingEventTrigger, "look", strange)
    sensor = TelnyxPortingEventSensor(task_id="x", event_type="porting_order.new_comment")

    async def told() -> Any:
        async for event in sensor.trigger().run():
            return event.payload

    found = asyncio.run(told()) if deferrable else sensor.trigger().look_now()
    assert carried(found)["event_ids"] == [CARRIED]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_the_command_prints_on_any_terminal(ledger: Ledger, encoding: str) -> None:
    watched = Watched(ledger)
    watched.status(1, "exception", "A_CODE")
    watched.reading(1, "exception", "A_CODE", customer_reference="Zo\u00eb \U0001f600 \ud83d")
    watched.look()
    run = subprocess.run(
        [sys.executable, "-m", "telnyx_porting", "--ledger", f"sqlite:///{ledger.url.database}", "findings"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    shown = {"ascii": "Zo\\xeb \\U0001f600", "utf-8": "Zo\u00eb \U0001f600", "latin-1": "Zo\u00eb \\U0001f600"}
    assert shown[encoding] in run.stdout.decode(encoding)


# -- in ----------------------------------------------------------------------------------------------------------------

NO_ID: tuple[Any, ...] = (5, 5.0, True, [ID], {"id": ID}, b"abc")
NO_IDS: tuple[Any, ...] = (5, 5.0, True, [5], [ID, None], [ID, 1.5], [[ID]], [{"id": 5}], {"id": ID}, "5", "not-an-id")
ONE: dict[str, tuple[type[Any], str, dict[str, Any]]] = {
    "list": (TelnyxListPortingEventsOperator, "porting_order_id", {}),
    "get": (TelnyxGetPortingEventOperator, "event_id", {}),
    "plan of an order": (TelnyxPlanPortingRepublishOperator, "porting_order_id", {}),
    "plan": (TelnyxPlanPortingRepublishOperator, "plan_id", {}),
    "approve": (TelnyxApprovePortingPlanOperator, "plan_id", {}),
    "execute": (TelnyxExecutePortingPlanOperator, "plan_id", {}),
    "report": (TelnyxReportPortingPlanOperator, "plan_id", {}),
    "order sensor": (TelnyxPortingOrderStatusSensor, "porting_order_id", {"statuses": "ported"}),
    "event sensor": (TelnyxPortingEventSensor, "porting_order_id", {}),
}
MANY = {"republish": TelnyxRepublishPortingEventsOperator, "plan": TelnyxPlanPortingRepublishOperator}


def refused(operator: Any, context: dict[str, Any], field: str, sandbox: RunningSandbox) -> None:
    right = rf"^{field} = .* is not valid: (a text|a list of UUIDs|UUIDs|a UUID),? such as [0-9a-f-]{{36}}$"
    with pytest.raises(SettingsError, match=right) as caught:
        operator.execute(context)
    assert "\n" not in str(caught.value)
    assert sandbox.requests()["total"] == 0


@pytest.mark.parametrize("value", NO_ID, ids=repr)
@pytest.mark.parametrize("name", ONE)
def test_what_is_no_id_is_refused_before_a_request(
    sandbox: RunningSandbox, ledger: Ledger, context: dict[str, Any], name: str, value: Any
) -> None:
    kind, field, more = ONE[name]
    refused(kind(task_id="x", **{field: value}, **more), context, field, sandbox)


@pytest.mark.parametrize("value", NO_IDS, ids=repr)
@pytest.mark.parametrize("name", MANY)
def test_what_are_no_ids_are_refused_before_a_request(
    sandbox: RunningSandbox, ledger: Ledger, context: dict[str, Any], name: str, value: Any
) -> None:
    refused(MANY[name](task_id="x", event_ids=value), context, "event_ids", sandbox)


@pytest.mark.parametrize("value", [0, 0.0, False], ids=repr)
def test_a_nothing_that_is_no_list_is_not_everything_missed(
    sandbox: RunningSandbox, ledger: Ledger, context: dict[str, Any], value: Any
) -> None:
    refused(TelnyxPlanPortingRepublishOperator(task_id="x", event_ids=value), context, "event_ids", sandbox)


@pytest.mark.parametrize("value", [5, None, [], [5], ["ported", None], [["ported"]], "", " "], ids=repr)
def test_what_are_no_statuses_are_refused(conn_id: str, context: dict[str, Any], value: Any) -> None:
    sensor = TelnyxPortingOrderStatusSensor(task_id="x", porting_order_id=ID, statuses=value)
    with pytest.raises(SettingsError, match=r"^statuses = .* is not valid: a status such as ported"):
        sensor.execute(context)
