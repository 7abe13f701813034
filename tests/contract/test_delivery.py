"""Webhooks over real sockets: a deadline, few retries, then lost; a record of it; a republish."""

from __future__ import annotations

import socket
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

    from include.sandbox.testing import RunningSandbox
    from tests.support.webhook_receiver import Receiver


def one_event(sandbox: RunningSandbox, *urls: str) -> str:
    sandbox.subscribe(*urls)
    (event_id,) = sandbox.burst(1, complete_after=0)
    sandbox.settle()
    return event_id


def records(api: httpx.Client) -> list[dict[str, Any]]:
    return api.get("/webhook_deliveries").json()["data"]


def test_the_first_success_ends_it(sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver) -> None:
    receiver.answers = [500, 201, 500]
    event_id = one_event(sandbox, receiver.url)
    assert [post.document["meta"] for post in receiver.received] == [
        {"attempt": attempt, "delivered_to": receiver.url} for attempt in (1, 2)
    ]
    (record,) = records(api)
    assert record["webhook"] == receiver.received[0].document["data"]
    assert [a["status"] for a in record["attempts"]] == ["delivered", "failed"]
    assert record["attempts"][0]["http"]["response"]["body"] == "taken"
    assert record["finished_at"] == record["attempts"][0]["finished_at"]
    assert record["started_at"] == record["attempts"][1]["started_at"]
    assert sandbox.truth()["arrived_first"] == [event_id]


@pytest.mark.parametrize(
    ("status", "code"), [(301, 75300), (400, 75400), (404, 75404), (410, 75499), (500, 75500), (502, 75599)]
)
def test_what_is_no_success_is_tried_again_then_lost(
    sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver, status: int, code: int
) -> None:
    receiver.answers = [status]
    event_id = one_event(sandbox, receiver.url)
    assert len(receiver.received) == 3
    (record,) = records(api)
    assert record["status"] == "failed"
    assert {tuple(a["errors"]) for a in record["attempts"]} == {(code,)}
    assert sandbox.truth()["missed"] == [event_id]


def test_nobody_listens(sandbox: RunningSandbox, api: httpx.Client) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    one_event(sandbox, f"http://127.0.0.1:{port}/x")
    (record,) = records(api)
    assert [a["errors"] for a in record["attempts"]] == [[75002]] * 3
    assert "response" not in record["attempts"][0]["http"]


def test_an_answer_after_the_deadline_is_a_failure(
    sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver
) -> None:
    """Two seconds unless told otherwise."""
    assert sandbox.control("GET", "/delivery-rules")["deadline_seconds"] == 2.0
    sandbox.delivery_rules(retry_delays=[])
    receiver.hang = True
    event_id = one_event(sandbox, receiver.url)
    (record,) = records(api)
    (attempt,) = record["attempts"]
    took = datetime.fromisoformat(attempt["finished_at"]) - datetime.fromisoformat(attempt["started_at"])
    assert attempt["errors"] == [75000]
    assert 1.95 <= took.total_seconds() < 2.5
    assert sandbox.truth()["missed"] == [event_id]


def test_each_destination_has_its_own_record(sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver) -> None:
    event_id = one_event(sandbox, receiver.url, sandbox.sink_url(503))
    assert sorted((r["status"], r["attempts"][0]["http"]["request"]["url"]) for r in records(api)) == [
        ("delivered", receiver.url),
        ("failed", sandbox.sink_url(503)),
    ]
    assert sandbox.truth()["arrived_first"] == [event_id]


def test_what_has_no_webhook_sends_none(sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver) -> None:
    sandbox.subscribe(receiver.url, emails=("desk@example.com",))
    order = sandbox.order()
    (loa,) = sandbox.act(order, "loa", complete_after=0)
    assert api.post(f"/porting/events/{loa['id']}/republish").status_code == 204
    sandbox.settle()
    assert receiver.received == []
    assert [(mail["event_id"], mail["republish"]) for mail in sandbox.control("GET", "/mails")] == [
        (loa["id"], False),
        (loa["id"], True),
    ]


def test_nothing_is_sent_before_the_payload_is_there(sandbox: RunningSandbox, receiver: Receiver) -> None:
    sandbox.clock(frozen=True, now="2026-05-01T12:00:00Z")
    sandbox.subscribe(receiver.url)
    sandbox.burst(1, complete_after=60)
    sandbox.clock(advance_seconds=59)
    sandbox.settle()
    assert receiver.received == []
    sandbox.clock(advance_seconds=1)
    sandbox.settle()
    assert len(receiver.received) == 1


def test_nobody_subscribed_then_is_nothing_missed(sandbox: RunningSandbox) -> None:
    (event_id,) = sandbox.burst(1, complete_after=0)
    sandbox.subscribe(sandbox.sink_url())
    sandbox.settle()
    truth = sandbox.truth()
    assert (truth["notified"], truth["missed"]) == ([], [])
    assert truth["events"] == 1
    assert event_id not in truth["stuck"]


def test_a_channel_in_flight_is_no_subscription(sandbox: RunningSandbox, receiver: Receiver) -> None:
    sandbox.subscribe(receiver.url, status="enable-pending")
    sandbox.burst(1, complete_after=0)
    sandbox.settle()
    assert receiver.received == []


class TestRepublish:
    def test_it_goes_to_who_is_subscribed_now(
        self, sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver
    ) -> None:
        event_id = one_event(sandbox, sandbox.sink_url(503))
        sandbox.subscribe(receiver.url)
        before = api.get("/porting/events").json()
        assert api.post(f"/porting/events/{event_id}/republish").content == b""
        sandbox.settle()
        (post,) = receiver.received
        assert post.document["data"]["payload"] == before["data"][0]["payload"]
        assert api.get("/porting/events").json() == before, "no new event, none changed"
        truth = sandbox.truth()
        assert truth["missed"] == truth["arrived_after_republish"] == [event_id]
        assert truth["republish_requests"] == {event_id: 1}

    def test_it_fails_like_any_webhook(self, sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver) -> None:
        receiver.answers = [503]
        event_id = one_event(sandbox, receiver.url)
        api.post(f"/porting/events/{event_id}/republish")
        sandbox.settle()
        assert len(receiver.received) == 6
        assert [r["status"] for r in records(api)] == ["failed", "failed"]
        assert sandbox.truth()["still_missed"] == [event_id]

    def test_a_computed_event_too(self, sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver) -> None:
        sandbox.reset("volume", events=500)
        sandbox.subscribe(receiver.url)
        listed = api.get("/porting/events", params={"filter[type]": "porting_order.new_comment"}).json()["data"]
        api.post(f"/porting/events/{listed[0]['id']}/republish")
        sandbox.settle()
        (post,) = receiver.received
        assert post.document["data"]["payload"] == listed[0]["payload"]

    def test_a_split_is_whole_only_with_all_its_webhooks(self, sandbox: RunningSandbox, receiver: Receiver) -> None:
        sandbox.delivery_rules(retry_delays=[])
        receiver.answers = [200, 503]
        sandbox.subscribe(receiver.url)
        (event,) = sandbox.act(sandbox.order(numbers=3), "split", numbers=2, complete_after=0)
        sandbox.settle()
        assert len(receiver.received) == 2
        assert sandbox.truth()["missed"] == [event["id"]]
