"""Orders live the published life: what moves are possible, what each leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from include.sandbox.testing import Refused
from include.sandbox.world.catalog import MOVES
from include.sandbox.world.stories import STEPS, STORIES

if TYPE_CHECKING:
    import httpx

    from include.sandbox.testing import RunningSandbox

PATHS = [
    ["in-process", "submitted", "foc-date-confirmed", "ported"],
    ["in-process", "submitted", "foc-date-confirmed", "activation-in-progress", "ported"],
    ["in-process", "submitted", "exception", "submitted", "foc-date-confirmed", "exception", "in-process"],
    ["in-process", "cancel-pending", "cancelled"],
]


def order(api: httpx.Client, order_id: str) -> dict[str, Any]:
    return api.get(f"/porting_orders/{order_id}").json()["data"]


@pytest.mark.parametrize("path", PATHS)
def test_a_life_is_readable_from_its_events(sandbox: RunningSandbox, api: httpx.Client, path: list[str]) -> None:
    order_id = sandbox.order()
    assert order(api, order_id)["status"] == {"value": "draft", "details": []}
    assert order(api, order_id)["support_key"] is None
    for status in path:
        codes = ["FOC_EXPIRED", "SV_CONFLICT"] if status == "exception" else []
        sandbox.act(order_id, "status", value=status, codes=codes, complete_after=0)
        shown = order(api, order_id)
        assert shown["status"]["value"] == status
        assert [one["code"] for one in shown["status"]["details"]] == codes
    events = api.get("/porting/events", params={"filter[porting_order_id]": order_id}).json()["data"]
    assert [event["payload"]["status"]["value"] for event in events] == path
    last = events[-1]["payload"]
    assert last["updated_at"][:23] + "Z" == order(api, order_id)["updated_at"]
    assert last["support_key"] == order(api, order_id)["support_key"]
    for event in events:
        assert event["payload"]["updated_at"] <= event["created_at"] <= event["updated_at"]


@pytest.mark.parametrize(
    ("start", "to"), [("draft", "ported"), ("ported", "exception"), ("cancelled", "submitted"), ("submitted", "ported")]
)
def test_no_published_way_leads_there(sandbox: RunningSandbox, start: str, to: str) -> None:
    order_id = sandbox.order(status=start)
    with pytest.raises(Refused, match=f"409.*is {start}; from there to"):
        sandbox.act(order_id, "status", value=to)
    assert sandbox.act(order_id, "status", value=to, force=True)


def test_every_status_but_the_final_ones_can_be_left() -> None:
    assert {status for status, to in MOVES.items() if not to} == {"ported", "cancelled"}
    assert all("cancel-pending" in to for status, to in MOVES.items() if to and status != "cancel-pending")


def test_the_agreed_date(sandbox: RunningSandbox, api: httpx.Client) -> None:
    order_id = sandbox.order(status="submitted")
    assert order(api, order_id)["activation_settings"]["foc_datetime_actual"] is None
    sandbox.act(order_id, "status", value="foc-date-confirmed", foc="2026-12-01T15:00:00Z")
    assert order(api, order_id)["activation_settings"]["foc_datetime_actual"] == "2026-12-01T15:00:00.000Z"
    sandbox.act(order_id, "foc", foc="2026-12-03T15:00:00Z")
    assert order(api, order_id)["activation_settings"]["foc_datetime_actual"] == "2026-12-03T15:00:00.000Z"
    sandbox.act(order_id, "status", value="ported")
    assert order(api, order_id)["activation_settings"]["activation_status"] == "Active"


def test_messaging_runs_its_own_course(sandbox: RunningSandbox, api: httpx.Client) -> None:
    order_id = sandbox.order(status="ported")
    for value in ("pending", "activating", "exception"):
        sandbox.act(order_id, "messaging", value=value)
    shown = order(api, order_id)
    assert (shown["status"]["value"], shown["messaging"]["messaging_port_status"]) == ("ported", "exception")
    assert sandbox.truth()["exceptions"] == [{"order_id": order_id, "kind": "messaging", "codes": []}]


def test_a_split_moves_numbers_to_a_new_order(sandbox: RunningSandbox, api: httpx.Client) -> None:
    order_id = sandbox.order(numbers=5, status="in-process")
    (event,) = sandbox.act(order_id, "split", numbers=2, complete_after=0)
    payload = api.get(f"/porting/events/{event['id']}").json()["data"]["payload"]
    target = payload["to"]["id"]
    assert payload["from"]["id"] == order_id
    assert len(payload["porting_phone_numbers"]) == 2
    assert [order(api, one)["porting_phone_numbers_count"] for one in (order_id, target)] == [3, 2]
    with pytest.raises(Refused, match="has 3 numbers; 3 cannot be split off"):
        sandbox.act(order_id, "split", numbers=3)


def test_only_a_draft_can_be_deleted_and_its_events_stay(sandbox: RunningSandbox, api: httpx.Client) -> None:
    order_id = sandbox.order()
    (event,) = sandbox.act(order_id, "delete", complete_after=0)
    assert api.get(f"/porting_orders/{order_id}").status_code == 404
    assert api.get("/porting_orders").json()["meta"]["total_results"] == 0
    assert api.get(f"/porting/events/{event['id']}").json()["data"]["porting_order_id"] == order_id
    with pytest.raises(Refused, match="only a draft can be deleted"):
        sandbox.act(sandbox.order(status="in-process"), "delete")


def test_an_order_lives_by_itself(sandbox: RunningSandbox, api: httpx.Client) -> None:
    sandbox.clock(frozen=True, now="2026-05-01T12:00:00Z")
    order_id = sandbox.order(story="rejected", pace_seconds=3600)
    seen = []
    for _ in range(STEPS):
        sandbox.clock(advance_seconds=3600)
        seen.append(order(api, order_id)["status"]["value"])
    assert seen[:6] == ["in-process", "submitted", "exception", "exception", "exception", "submitted"]
    assert seen[-1] == "ported"
    events = api.get("/porting/events").json()["data"]
    assert [event["created_at"] for event in events] == [
        f"2026-05-0{1 + (12 + hour) // 24}T{(12 + hour) % 24:02}:00:00.000000Z" for hour in range(1, STEPS + 1)
    ]


def test_stories_are_equally_long() -> None:
    assert {len(story) for story in STORIES} == {STEPS}
