"""The strings that can be pulled: clock, inbox, requests, what is said to nonsense, who may pull."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from include.sandbox.server import Sandbox
from include.sandbox.simulator import Options
from include.sandbox.testing import Refused, running_sandbox

if TYPE_CHECKING:
    from include.sandbox.testing import RunningSandbox

NOON = "2026-05-01T12:00:00Z"


class TestClock:
    def test_it_stands_still(self, sandbox: RunningSandbox) -> None:
        sandbox.clock(now=NOON, frozen=True)
        assert {sandbox.clock()["now"] for _ in range(3)} == {"2026-05-01T12:00:00.000000Z"}

    def test_it_runs_faster(self, sandbox: RunningSandbox) -> None:
        sandbox.clock(now=NOON, frozen=False, speed=100_000)
        begun = datetime.fromisoformat(NOON)
        while datetime.fromisoformat(sandbox.clock()["now"]) < begun + timedelta(hours=2):
            pass
        assert datetime.fromisoformat(sandbox.clock()["now"]) < begun + timedelta(days=2)

    @pytest.mark.parametrize("ahead", [{"now": "2999-01-01T00:00:00Z"}, {"advance_seconds": 10**9}, {"speed": 10**9}])
    def test_it_never_passes_wall_clock(self, sandbox: RunningSandbox, ahead: dict[str, Any]) -> None:
        shown = sandbox.clock(**ahead)
        assert shown["now"] <= shown["wall"]
        assert datetime.fromisoformat(shown["wall"]) - datetime.now(UTC) < timedelta(seconds=1)

    def test_what_is_scheduled_happens_at_its_time(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        sandbox.clock(now=NOON, frozen=True)
        (event_id,) = sandbox.burst(1, complete_after=90)
        sandbox.clock(advance_seconds=86_400)
        event = api.get(f"/porting/events/{event_id}").json()["data"]
        assert event["updated_at"] == "2026-05-01T12:01:30.000000Z"

    def test_dates_stay_wall_clock(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        sandbox.clock(now=NOON, frozen=True)
        date = datetime.strptime(api.get("/porting/events").headers["date"], "%a, %d %b %Y %H:%M:%S GMT")
        assert abs(date.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(seconds=3)


class TestInbox:
    def test_any_letter_is_kept(self, sandbox: RunningSandbox) -> None:
        httpx.post(sandbox.inbox_url, json={"text": "two stuck"})
        httpx.post(f"{sandbox.inbox_url}/pager/high", content=b"plain \xff")
        letters = sandbox.inbox()
        assert [letter["body"] for letter in letters] == [{"text": "two stuck"}, "plain \ufffd"]
        assert [letter["path"] for letter in letters] == ["/sandbox/inbox", "/sandbox/inbox/pager/high"]
        sandbox.control("DELETE", "/inbox")
        assert sandbox.inbox() == []

    def test_a_new_world_does_not_empty_it(self, sandbox: RunningSandbox) -> None:
        httpx.post(sandbox.inbox_url, json=1)
        sandbox.reset("volume", events=10)
        assert len(sandbox.inbox()) == 1


class TestRows:
    def test_any_row_can_be_put_in_and_taken_away(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        row = {
            "id": "5796A670-482c-490e-8d97-82bfcdc83011",
            "type": "porting_order.new_thing",
            "created_at": NOON,
            "updated_at": "2026-05-01T12:00:03.25Z",
            "payload": {"x": [1, None]},
            "completed": True,
            "order_id": "f6fadfa7-e5c1-4b62-9362-da5cc13da58a",
        }
        sandbox.insert(row)
        assert api.get("/porting/events").json()["data"] == [
            {
                "id": row["id"].lower(),
                "event_type": row["type"],
                "porting_order_id": row["order_id"],
                "available_notification_methods": ["email", "webhook"],
                "payload_status": "completed",
                "payload": row["payload"],
                "record_type": "porting_event",
                "created_at": "2026-05-01T12:00:00.000000Z",
                "updated_at": "2026-05-01T12:00:03.250000Z",
            }
        ]
        with pytest.raises(Refused, match="already"):
            sandbox.insert(row)
        sandbox.remove(row["id"])
        assert api.get("/porting/events").json()["meta"]["total_results"] == 0

    def test_created_rows_have_no_payload_until_completed(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        (event,) = sandbox.insert({"completed": False, "created_at": NOON})
        assert api.get(f"/porting/events/{event['id']}").json()["data"]["payload"] is None
        sandbox.complete(event["id"])
        assert api.get(f"/porting/events/{event['id']}").json()["data"]["payload"]["comment"]

    def test_computed_rows_stay(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        sandbox.reset("volume", events=10)
        first = api.get("/porting/events").json()["data"][0]["id"]
        with pytest.raises(Refused, match="computed"):
            sandbox.remove(first)


def test_requests_are_counted_by_kind(sandbox: RunningSandbox, api: httpx.Client) -> None:
    (event_id,) = sandbox.burst(1)
    api.get("/porting/events", params={"page[size]": 1})
    api.get(f"/porting/events/{event_id}")
    api.post(f"/porting/events/{event_id}/republish")
    seen = sandbox.requests()
    assert seen["counts"] == {
        "GET /v2/porting/events": 1,
        "GET /v2/porting/events/{id}": 1,
        "POST /v2/porting/events/{id}/republish": 1,
    }
    assert seen["recent"][0]["query"] == "page%5Bsize%5D=1"
    assert [(e["event_id"], e["status"]) for e in sandbox.republishes()] == [(event_id, 204)]
    sandbox.forget_requests()
    assert sandbox.requests()["total"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/orders", {"colour": "red"}, 400, "'colour' is none of"),
        ("POST", "/orders", {"count": "two"}, 400, "count: 'two' is no number"),
        ("POST", "/orders", {"story": "romance"}, 400, "'romance' is none of smooth"),
        ("POST", "/orders/x/status", {"value": "ported"}, 404, "no such order"),
        ("POST", "/clock", {"now": "noon"}, 400, "'noon' is no date-time"),
        ("POST", "/live", {"webhook_url": "http://127.0.0.1/"}, 409, "no live phase"),
        ("POST", "/live", {}, 400, "webhook_url: a URL is needed"),
        ("POST", "/reset", {"scenario": "chaos"}, 400, "no scenario 'chaos'; there are demo, empty, volume"),
        ("POST", "/events", {"events": [1]}, 400, "a list of objects"),
        ("POST", "/events", [], 400, "no JSON object"),
        ("GET", "/nothing", None, 404, "Not Found"),
    ],
)
def test_nonsense_gets_a_sentence(
    sandbox: RunningSandbox, method: str, path: str, body: Any, status: int, said: str
) -> None:
    with pytest.raises(Refused) as refused:
        sandbox.control(method, path, body)
    assert f": {status} " in str(refused.value)
    assert said in str(refused.value)


class TestWho:
    def test_not_where_others_reach_it(self) -> None:
        with pytest.raises(ValueError, match="set SANDBOX_CONTROL_TOKEN, or use 127.0.0.1"):
            Sandbox(Options(host="0.0.0.0"))
        assert Sandbox(Options(host="::1"))

    def test_with_a_token(self) -> None:
        with running_sandbox(control_token="hush") as sandbox:
            root = f"{sandbox.origin}/sandbox"
            assert httpx.get(f"{root}/truth").status_code == 401
            assert httpx.get(f"{root}/truth", headers={"Authorization": "Bearer hush"}).status_code == 200
            assert httpx.get(f"{root}/state").status_code == 200
            assert httpx.post(sandbox.inbox_url, json=1).status_code == 200
            assert httpx.get(sandbox.inbox_url).status_code == 401
            assert httpx.get(f"{sandbox.base_url}/porting/events", headers=sandbox.headers).status_code == 200


def test_as_a_process() -> None:
    command = [sys.executable, "-m", "include.sandbox", "--port", "0", "--scenario", "demo", "--api-key", "KEY_X"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("sandbox ready http://127.0.0.1:")
        url = line.split()[-1]
        events = httpx.get(f"{url}/v2/porting/events", headers={"Authorization": "Bearer KEY_X"}, trust_env=False)
        assert events.json()["meta"]["total_results"] > 290
        process.terminate()
        assert process.wait(10) in (0, -15)


def test_it_says_why_it_does_not_start(sandbox: RunningSandbox) -> None:
    port = sandbox.origin.rpartition(":")[2]
    for arguments, said in (
        (["--port", port], f"cannot listen on 127.0.0.1:{port}: Address already in use"),
        (["--host", "0.0.0.0"], "'0.0.0.0' lets others reach /sandbox/"),
        (["--scenario", "chaos"], "invalid choice: 'chaos'"),
    ):
        done = subprocess.run([sys.executable, "-m", "include.sandbox", *arguments], capture_output=True, text=True)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr
