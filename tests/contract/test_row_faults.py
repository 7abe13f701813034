"""Faults of webhooks and of rows: what is lost, late, doubled, stuck or odd, and that nothing else is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from include.sandbox.testing import Refused

if TYPE_CHECKING:
    import httpx

    from include.sandbox.testing import RunningSandbox
    from tests.support.webhook_receiver import Receiver


class TestWebhooks:
    def test_dropped_leaves_no_trace(self, sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver) -> None:
        sandbox.subscribe(receiver.url)
        sandbox.fault("webhook_drop", times=1)
        lost, arrived = sandbox.burst(2, complete_after=0)
        sandbox.settle()
        assert [post.document["data"]["id"] for post in receiver.received] == [arrived]
        records = api.get("/webhook_deliveries").json()["data"]
        assert [record["webhook"]["id"] for record in records] == [arrived]
        assert sandbox.truth()["missed"] == [lost]

    @pytest.mark.parametrize(
        ("error", "code", "status"), [("503", 75599, 503), ("no_connection", 75002, None), ("timeout", 75000, None)]
    )
    def test_failed_is_recorded(
        self, sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver, error: str, code: int, status: int | None
    ) -> None:
        sandbox.subscribe(receiver.url)
        sandbox.fault("webhook_fail", error=error)
        (event_id,) = sandbox.burst(1, complete_after=0)
        sandbox.settle()
        assert receiver.received == []
        (record,) = api.get("/webhook_deliveries").json()["data"]
        assert (record["status"], record["webhook"]["id"]) == ("failed", event_id)
        assert [a["errors"] for a in record["attempts"]] == [[code]] * 3
        assert [a["http"].get("response", {}).get("status") for a in record["attempts"]] == [status] * 3

    def test_first_tries_fail(self, sandbox: RunningSandbox, receiver: Receiver) -> None:
        sandbox.subscribe(receiver.url)
        sandbox.fault("webhook_fail", count=2)
        (event_id,) = sandbox.burst(1, complete_after=0)
        sandbox.settle()
        assert [post.document["meta"]["attempt"] for post in receiver.received] == [3]
        assert sandbox.truth()["arrived_first"] == [event_id]

    def test_only_first_notifications_or_only_republishes(
        self, sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver
    ) -> None:
        sandbox.subscribe(receiver.url)
        sandbox.fault("webhook_drop", republish=False)
        (event_id,) = sandbox.burst(1, complete_after=0)
        api.post(f"/porting/events/{event_id}/republish")
        sandbox.settle()
        assert len(receiver.received) == 1
        truth = sandbox.truth()
        assert truth["missed"] == truth["arrived_after_republish"] == [event_id]
        assert truth["still_missed"] == []

    def test_duplicated(self, sandbox: RunningSandbox, receiver: Receiver) -> None:
        sandbox.subscribe(receiver.url)
        sandbox.fault("webhook_duplicate", count=3)
        sandbox.burst(1, complete_after=0)
        sandbox.settle()
        assert len({post.document["data"]["id"] for post in receiver.received}) == 1
        assert len(receiver.received) == 3

    def test_late(self, sandbox: RunningSandbox, receiver: Receiver) -> None:
        sandbox.subscribe(receiver.url)
        sandbox.fault("webhook_late", seconds=0.3)
        begun = time.monotonic()
        sandbox.burst(1, complete_after=0)
        sandbox.settle()
        assert len(receiver.received) == 1
        assert time.monotonic() - begun >= 0.3

    def test_reordered(self, sandbox: RunningSandbox, receiver: Receiver) -> None:
        sandbox.subscribe(receiver.url)
        sandbox.fault("webhook_reorder", count=4)
        made = sandbox.burst(4, complete_after=0)
        sandbox.settle()
        assert [post.document["data"]["id"] for post in receiver.received] == made[::-1]

    def test_by_type_order_and_id(self, sandbox: RunningSandbox, receiver: Receiver) -> None:
        sandbox.subscribe(receiver.url)
        first, second = sandbox.order(), sandbox.order()
        sandbox.fault("webhook_drop", order_id=first)
        sandbox.fault("webhook_drop", event_type="porting_order.messaging_changed")
        sandbox.act(first, "comment", complete_after=0)
        sandbox.act(second, "messaging", value="activating", complete_after=0)
        (kept,) = sandbox.act(second, "comment", complete_after=0)
        sandbox.settle()
        assert [post.document["data"]["id"] for post in receiver.received] == [kept["id"]]


class TestRows:
    def test_stuck(self, sandbox: RunningSandbox, receiver: Receiver) -> None:
        sandbox.subscribe(receiver.url)
        sandbox.fault("stuck", times=1)
        stuck, fine = sandbox.burst(2, complete_after=0)
        sandbox.settle()
        assert sandbox.truth()["stuck"] == [stuck]
        assert [post.document["data"]["id"] for post in receiver.received] == [fine]
        sandbox.complete(stuck)
        sandbox.settle()
        assert sandbox.truth()["stuck"] == []
        assert len(receiver.received) == 2

    def test_a_late_row_turns_up_behind_what_was_read(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        sandbox.clock(frozen=True, now="2026-05-01T12:00:00Z")
        sandbox.fault("late_row", times=1, seconds=30)
        (late,) = sandbox.burst(1)
        sandbox.clock(advance_seconds=10)
        (punctual,) = sandbox.burst(1)
        assert _ids(api) == [punctual]
        assert api.get(f"/porting/events/{late}").status_code == 404
        sandbox.clock(advance_seconds=30)
        assert _ids(api) == [late, punctual]
        assert api.get(f"/porting/events/{late}").json()["data"]["created_at"] == "2026-05-01T12:00:00.000000Z"


class TestOddRows:
    """One row of a list is not as published: every other is, and so is this one wherever the fault does not strike."""

    @pytest.mark.parametrize(
        ("fault", "shown"),
        [
            ({"without": ["id"]}, {"id": "<missing>"}),
            ({"row": {"id": None, "payload.comment.body": "\ud800\x00"}}, {"id": None}),
            ({"instead": [1]}, [1]),
            ({}, None),
        ],
    )
    def test_of_events(self, sandbox: RunningSandbox, api: httpx.Client, fault: dict[str, Any], shown: Any) -> None:
        first, second = sandbox.burst(2, complete_after=0)
        sandbox.fault("odd_row", row_id=second, path="/v2/porting/events*", **fault)
        body = api.get("/porting/events").json()
        assert body["meta"]["total_results"] == 2
        assert [row["id"] for row in body["data"] if isinstance(row, dict) and row.get("id")] == [first]
        (odd,) = [row for row in body["data"] if not (isinstance(row, dict) and row.get("id") == first)]
        alone = api.get(f"/porting/events/{second}").json()["data"]
        assert alone == odd
        if isinstance(shown, dict):
            assert {"id": odd.get("id", "<missing>")} == shown
        else:
            assert odd == shown

    def test_of_orders_and_records(self, sandbox: RunningSandbox, receiver: Receiver, api: httpx.Client) -> None:
        sandbox.subscribe(receiver.url)
        order, other = sandbox.order(), sandbox.order()
        sandbox.act(order, "comment", complete_after=0)
        sandbox.settle()
        (record,) = api.get("/webhook_deliveries").json()["data"]
        sandbox.fault("odd_row", row_id=order, row={"activation_settings.foc_datetime_actual": "9999-12-31T00:00:00Z"})
        sandbox.fault("odd_row", row_id=record["id"], row={"attempts": None})
        shown = {row["id"]: row["activation_settings"] for row in api.get("/porting_orders").json()["data"]}
        assert shown[order]["foc_datetime_actual"] == "9999-12-31T00:00:00Z"
        assert shown[other]["foc_datetime_actual"] is None
        assert api.get("/webhook_deliveries").json()["data"] == [record | {"attempts": None}]

    def test_one_needs_the_row(self, sandbox: RunningSandbox) -> None:
        with pytest.raises(Refused, match="row_id is missing"):
            sandbox.fault("odd_row")


def _ids(api: httpx.Client) -> list[str]:
    return [event["id"] for event in api.get("/porting/events").json()["data"]]
