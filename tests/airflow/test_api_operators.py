"""List and get: complete results as JSON, or one sentence that says what is wrong."""

from __future__ import annotations

import gc
import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.errors import AuthenticationError, NotFoundError, SettingsError, TelnyxError
from telnyx_porting.links import PORTAL
from telnyx_porting.operators import api
from telnyx_porting.operators.porting import TelnyxGetPortingEventOperator, TelnyxListPortingEventsOperator

if TYPE_CHECKING:
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox

NOBODY = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"


@pytest.fixture
def order(sandbox: RunningSandbox) -> str:
    return sandbox.order()


def list_events(context: dict[str, Any], **arguments: Any) -> Any:
    operator = TelnyxListPortingEventsOperator(task_id="list", **arguments)
    return operator.execute(context)


def test_facts_are_json_without_payloads(
    sandbox: RunningSandbox, order: str, conn_id: str, context: dict[str, Any]
) -> None:
    (made,) = sandbox.act(order, "comment", body="the customer's words")
    sandbox.complete(made["id"])
    facts = list_events(context)
    assert [fact["id"] for fact in facts] == [made["id"]]
    assert facts[0]["event_type"] == "porting_order.new_comment"
    assert facts[0]["porting_order_id"] == order
    assert "customer's words" not in json.dumps(facts)


def test_payloads_on_request(sandbox: RunningSandbox, order: str, conn_id: str, context: dict[str, Any]) -> None:
    (made,) = sandbox.act(order, "comment", body="the customer's words")
    sandbox.complete(made["id"])
    assert "customer's words" in json.dumps(list_events(context, include_payload=True))


def test_filters(sandbox: RunningSandbox, order: str, conn_id: str, context: dict[str, Any]) -> None:
    sandbox.burst(5)
    other = sandbox.order()
    (made,) = sandbox.act(other, "comment")
    assert [fact["id"] for fact in list_events(context, porting_order_id=other)] == [made["id"]]
    assert list_events(context, event_type="porting_order.split") == []
    assert list_events(context, created_at_gte="2100-01-01T00:00:00Z", created_at_lte="2100-01-02T00:00:00Z") == []


def test_templates_without_a_value_are_no_filter(
    sandbox: RunningSandbox, order: str, conn_id: str, context: dict[str, Any]
) -> None:
    sandbox.act(order, "comment")
    nothing = dict.fromkeys(("created_at_gte", "event_type", "porting_order_id"), "None")
    assert len(list_events(context, **nothing)) == 1


def test_too_many_for_xcom_is_an_error_and_no_cut(
    sandbox: RunningSandbox, order: str, conn_id: str, context: dict[str, Any]
) -> None:
    sandbox.burst(4)
    assert len(list_events(context, max_items=4)) == 4
    with pytest.raises(SettingsError, match=r"max_items = 3 .* output_path"):
        list_events(context, max_items=3)


def test_json_lines(sandbox: RunningSandbox, order: str, conn_id: str, context: dict[str, Any], tmp_path: Path) -> None:
    made = sandbox.burst(300)
    target = tmp_path / "new" / "events.jsonl"
    told = list_events(context, output_path=target.as_uri(), max_items=1)
    assert told == {"path": target.as_uri(), "count": 300}
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert {line["id"] for line in lines} == set(made)


@pytest.mark.parametrize("usual", [700, 0, 500_000])
@pytest.mark.parametrize("fails", [False, True])
def test_while_it_lists_the_garbage_collector_waits_longer(
    sandbox: RunningSandbox,
    order: str,
    conn_id: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    usual: int,
    fails: bool,
) -> None:
    """In this task's process, and afterwards as before; one that is switched off stays so."""
    before, seen = gc.get_threshold(), []
    sandbox.burst(2)
    monkeypatch.setattr(api, "event_facts", lambda event, **_: seen.append(gc.get_threshold()[0]))
    gc.set_threshold(usual, 7, 9)
    try:
        with pytest.raises(SettingsError) if fails else nullcontext():
            list_events(context, max_items=1 if fails else 2)
        assert gc.get_threshold() == (usual, 7, 9)
    finally:
        gc.set_threshold(*before)
    assert set(seen) == {usual and max(usual, 100_000)}


def test_half_a_list_is_never_found_at_the_path(
    sandbox: RunningSandbox, order: str, conn_id: str, context: dict[str, Any], tmp_path: Path
) -> None:
    sandbox.burst(600)
    sandbox.fault("status", status=422, skip=2)
    target = tmp_path / "events.jsonl"
    with pytest.raises(TelnyxError):
        list_events(context, output_path=target.as_uri())
    assert not target.exists()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        pytest.param({"created_at_gte": "yesterday"}, "created_at_gte", id="no time"),
        pytest.param({"created_at_lte": "2026-10-01T00:00:00"}, "created_at_lte", id="no zone"),
        pytest.param({"porting_order_id": "1234"}, "porting_order_id", id="no UUID"),
        pytest.param(
            {"created_at_gte": "2026-10-02T00:00:00Z", "created_at_lte": "2026-10-01T00:00:00Z"},
            "created_at",
            id="ends before it begins",
        ),
    ],
)
def test_impossible_arguments(
    sandbox: RunningSandbox, conn_id: str, context: dict[str, Any], arguments: dict[str, str], field: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        list_events(context, **arguments)
    assert field in caught.value.field
    assert sandbox.requests()["total"] == 0


def test_get(sandbox: RunningSandbox, order: str, conn_id: str, context: dict[str, Any]) -> None:
    (made,) = sandbox.act(order, "comment")
    operator = TelnyxGetPortingEventOperator(task_id="get", event_id=made["id"])
    facts = operator.execute(context)
    assert facts["id"] == made["id"]
    assert "payload" not in facts
    *_, link = operator.operator_extra_links
    assert link.get_link(operator, ti_key=None) == f"{PORTAL}/orders/{order}"


def test_get_unknown(conn_id: str, context: dict[str, Any]) -> None:
    operator = TelnyxGetPortingEventOperator(task_id="get", event_id=NOBODY)
    with pytest.raises(NotFoundError):
        operator.execute(context)
    *_, link = operator.operator_extra_links
    assert link.get_link(operator, ti_key=None) == PORTAL


def test_refused_key_is_its_own_error(sandbox: RunningSandbox, conn_id: str, context: dict[str, Any]) -> None:
    sandbox.fault("status", status=401)
    with pytest.raises(AuthenticationError):
        list_events(context)
