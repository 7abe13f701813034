"""The same seed gives the same world; the demo tells what is true in it, and ends."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from include.sandbox.testing import Refused, RunningSandbox, running_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]


def run(sandbox: RunningSandbox, seconds: float) -> Json:
    """Play the live phase; gives the truth at its end, in which a destination is never slow but by its fate."""
    sandbox.delivery_rules(deadline_seconds=60, retry_delays=[0.05, 0.1])
    sandbox.control("POST", "/live", {"webhook_url": sandbox.sink_url(), "seconds": seconds})
    while sandbox.state()["phase"] != "frozen":
        time.sleep(0.02)
    return sandbox.truth()


def listing(sandbox: RunningSandbox, path: str) -> list[Json]:
    found: list[Json] = []
    with httpx.Client(base_url=sandbox.base_url, headers=sandbox.headers, trust_env=False) as api:
        while True:
            page = api.get(path, params={"page[size]": 250, "page[number]": len(found) // 250 + 1}).json()
            found += page["data"]
            if len(found) >= page["meta"]["total_results"]:
                return found


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[RunningSandbox, Json, Json]]:
    """Give a demo that has ended, its truth before the live phase and its truth now."""
    with running_sandbox("demo", seed=11) as sandbox:
        before = sandbox.truth()
        yield sandbox, before, run(sandbox, 2.0)


def test_the_same_seed_the_same_truth(played: tuple[RunningSandbox, Json, Json]) -> None:
    _, before, after = played
    with running_sandbox("demo", seed=11) as again:
        assert again.truth() == before
        assert run(again, 3.0) == after
        again.reset(seed=12)
        assert again.truth()["stuck"] != before["stuck"]


def test_the_history_was_never_sent(played: tuple[RunningSandbox, Json, Json]) -> None:
    _, before, _ = played
    assert 290 <= before["events"] <= 340
    assert before["notified"] == before["missed"] == []
    assert before["webhooks_posted"] == 0
    codes = [code for row in before["exceptions"] for code in row["codes"]]
    assert "NUMBER_UNDER_REVIEW" in codes
    assert {row["kind"] for row in before["exceptions"]} == {"voice", "messaging"}
    assert len(before["stuck"]) == 4


def test_the_live_phase(played: tuple[RunningSandbox, Json, Json]) -> None:
    sandbox, before, after = played
    assert after["events"] - before["events"] >= 120
    assert len(after["missed"]) == 39
    assert len(after["missed_superseded"]) == 6
    assert len(after["missed_deleted"]) == 2
    assert len(after["republishable"]) == 31
    assert set(after["undeliverable"]) < set(after["republishable"])
    assert set(after["missed"]) | set(after["arrived_first"]) == set(after["notified"])
    assert after["webhooks_received"] > len(after["arrived_first"]), "some arrive more than once"
    resolved = {row["order_id"] for row in before["exceptions"]} - {row["order_id"] for row in after["exceptions"]}
    assert len(resolved) == 1
    assert len(after["exceptions"]) == 10
    # two new ones, one that completed after hours
    assert len(set(after["stuck"]) - set(before["stuck"])) == 2
    assert len(set(before["stuck"]) - set(after["stuck"])) == 1
    assert sandbox.state()["frozen"]


def test_truth_is_what_the_wire_shows(played: tuple[RunningSandbox, Json, Json]) -> None:
    sandbox, _, truth = played
    events = {event["id"]: event for event in listing(sandbox, "/porting/events")}
    assert len(events) == truth["events"]
    stuck = [
        i
        for i, e in events.items()
        if e["payload_status"] == "created" and "webhook" in e["available_notification_methods"]
    ]
    assert sorted(stuck) == truth["stuck"]
    orders = listing(sandbox, "/porting_orders")
    assert len(orders) == truth["orders"]
    wrong = [
        {"order_id": o["id"], "kind": "voice", "codes": sorted(d["code"] for d in o["status"]["details"])}
        for o in orders
        if o["status"]["value"] == "exception"
    ] + [
        {"order_id": o["id"], "kind": "messaging", "codes": []}
        for o in orders
        if o["messaging"]["messaging_port_status"] == "exception"
    ]
    assert sorted(wrong, key=lambda row: (row["order_id"], row["kind"])) == truth["exceptions"]
    received = {post["event_id"] for post in sandbox.sent() if post["status"] == 200 and not post["republish"]}
    assert received == set(truth["arrived_first"])
    # half of the losses have a record, half have no trace
    failed = {d["webhook"]["id"] for d in listing(sandbox, "/webhook_deliveries") if d["status"] == "failed"}
    assert failed < set(truth["missed"])
    assert 15 <= len(failed) <= 24
    for event_id in truth["missed_superseded"]:
        one = events[event_id]
        later = [
            e
            for e in events.values()
            if (e["event_type"], e["porting_order_id"]) == (one["event_type"], one["porting_order_id"])
            and e["created_at"] > one["created_at"]
        ]
        assert later
        assert all(e["id"] not in truth["missed"] and e["payload"] for e in later)


def test_what_only_looks_wrong_is_there(played: tuple[RunningSandbox, Json, Json]) -> None:
    sandbox, _, _ = played
    events = listing(sandbox, "/porting/events")
    kinds = Counter(e["event_type"] for e in events if e["payload_status"] == "created")
    assert kinds["porting_order.loa_updated"] >= 2
    assert kinds["porting_order.sharing_token_expired"] >= 2
    bodies = [e["payload"]["comment"]["body"] for e in events if e["payload"] and "comment" in e["payload"]]
    assert "{{ conn.telnyx_default.password }}" in bodies
    tries = Counter((post["event_id"], post["attempt"]) for post in sandbox.sent())
    assert max(tries.values()) == 3, "duplicates"
    order_of_events = [e["id"] for e in events]
    arrivals = [order_of_events.index(p["event_id"]) for p in sandbox.sent() if p["status"] == 200]
    assert arrivals != sorted(arrivals), "disorder"


def test_republishing_all_that_may_be_leaves_the_undeliverable(played: tuple[RunningSandbox, Json, Json]) -> None:
    sandbox, _, truth = played
    with httpx.Client(base_url=sandbox.base_url, headers=sandbox.headers, trust_env=False) as api:
        for event_id in truth["republishable"]:
            assert api.post(f"/porting/events/{event_id}/republish").status_code == 204
    sandbox.settle()
    after = sandbox.truth()
    assert set(after["republishable"]) - set(after["arrived_after_republish"]) == set(truth["undeliverable"])
    assert after["missed"] == truth["missed"]
    assert set(after["still_missed"]) == (
        set(truth["missed_superseded"]) | set(truth["missed_deleted"]) | set(truth["undeliverable"])
    )
    assert after["republish_requests"] == dict.fromkeys(truth["republishable"], 1)
    assert after["events"] == truth["events"]


def test_the_live_phase_starts_once(played: tuple[RunningSandbox, Json, Json]) -> None:
    sandbox, _, _ = played
    with pytest.raises(Refused, match="no live phase to start: phase is frozen"):
        sandbox.control("POST", "/live", {"webhook_url": sandbox.sink_url()})
