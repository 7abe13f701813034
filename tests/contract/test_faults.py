"""Every fault shows on a real socket, strikes whom it should, as often as it should."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from include.sandbox.testing import Refused
from include.sandbox.world.faults import KINDS

if TYPE_CHECKING:
    from include.sandbox.testing import RunningSandbox
    from tests.support.webhook_receiver import Receiver

REPUBLISH = "/v2/porting/events/*/republish"


@pytest.fixture
def event(sandbox: RunningSandbox, receiver: Receiver) -> str:
    """Give an event that was never notified, with a subscription since."""
    (event_id,) = sandbox.burst(1, complete_after=0)
    sandbox.subscribe(receiver.url)
    return event_id


class TestAnswers:
    @pytest.mark.parametrize(
        ("fault", "status", "kind", "length"),
        [
            ({"kind": "status", "status": 503}, 503, "application/json", None),
            ({"kind": "status", "status": 403}, 403, "application/json", None),
            ({"kind": "html", "status": 502}, 502, "text/html", None),
            ({"kind": "html", "status": 200}, 200, "text/html", None),
            ({"kind": "empty_body"}, 200, None, 0),
            ({"kind": "rate_limited", "seconds": 9}, 429, "application/json", None),
        ],
    )
    def test_instead_of_the_right_one(
        self,
        sandbox: RunningSandbox,
        api: httpx.Client,
        fault: dict[str, Any],
        status: int,
        kind: str | None,
        length: int | None,
    ) -> None:
        sandbox.fault(**fault, times=1)
        response = api.get("/porting/events")
        assert (response.status_code, response.headers.get("content-type")) == (status, kind)
        assert length is None or len(response.content) == length
        assert api.get("/porting/events").json()["data"] == []

    def test_429_says_when_the_window_ends(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        sandbox.fault("rate_limited", seconds=9, times=1)
        sandbox.switches(retry_after="present")
        headers = api.get("/porting/events").headers
        assert (headers["x-ratelimit-reset"], headers["retry-after"]) == ("9", "9")

    def test_truncated_json_is_whole_http(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        whole = api.get("/porting_orders/exception_types").content
        sandbox.fault("truncated_json", times=1)
        cut = api.get("/porting_orders/exception_types")
        assert cut.status_code == 200
        assert cut.content == whole[: len(whole) // 2]

    @pytest.mark.parametrize("kind", ["truncated_body", "reset", "timeout"])
    def test_a_connection_that_breaks(self, sandbox: RunningSandbox, api: httpx.Client, kind: str) -> None:
        sandbox.fault(kind, times=1, seconds=0.05)
        with pytest.raises(httpx.TransportError) as raised:
            api.get("/porting_orders/exception_types")
        expected = httpx.ReadError if kind == "reset" else httpx.RemoteProtocolError
        assert isinstance(raised.value, expected)

    def test_a_time_out_is_silence(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        sandbox.fault("timeout", times=1, seconds=5)
        with pytest.raises(httpx.ReadTimeout):
            api.get("/porting/events", timeout=0.1)

    def test_slow_is_late_and_right(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        sandbox.fault("slow", times=1, seconds=0.2)
        begun = time.monotonic()
        assert api.get("/porting/events").json()["data"] == []
        assert time.monotonic() - begun >= 0.2


class TestEffect:
    @pytest.mark.parametrize("kind", ["status", "timeout", "reset", "rate_limited"])
    @pytest.mark.parametrize(("when", "arrived"), [("before", 0), ("after", 1)])
    def test_before_or_after_the_republish(
        self,
        sandbox: RunningSandbox,
        api: httpx.Client,
        receiver: Receiver,
        event: str,
        kind: str,
        when: str,
        arrived: int,
    ) -> None:
        sandbox.fault(kind, when=when, method="POST", path=REPUBLISH, times=1, seconds=0.05)
        with contextlib.suppress(httpx.TransportError):
            assert api.post(f"/porting/events/{event}/republish").status_code in (500, 429)
        sandbox.settle()
        assert len(receiver.received) == arrived
        assert sandbox.truth()["republish_requests"] == ({event: 1} if arrived else {})
        (entry,) = sandbox.republishes()
        assert (entry["event_id"], entry["fault"]) == (event, kind)

    def test_accepted_and_lost(
        self, sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver, event: str
    ) -> None:
        sandbox.fault("republish_lost", times=1)
        for arrived in (0, 1):
            assert api.post(f"/porting/events/{event}/republish").status_code == 204
            sandbox.settle()
            assert len(receiver.received) == arrived

    def test_undeliverable_for_ever(
        self, sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver, event: str
    ) -> None:
        sandbox.control("POST", "/undeliverable", {"event_ids": [event]})
        assert {api.post(f"/porting/events/{event}/republish").status_code for _ in range(3)} == {204}
        sandbox.settle()
        assert receiver.received == []
        assert sandbox.truth()["undeliverable"] == [event]


class TestWhom:
    def test_method_path_skip_and_times(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        sandbox.fault("status", status=500, path="/v2/porting_orders", skip=1, times=2)
        assert [api.get("/porting_orders").status_code for _ in range(4)] == [200, 500, 500, 200]
        assert api.get("/porting/events").status_code == 200

    def test_probability_comes_from_the_seed(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        runs = []
        for _ in range(2):
            sandbox.reset(seed=7)
            sandbox.fault("status", probability=0.5)
            runs.append([api.get("/porting/events").status_code for _ in range(20)])
        assert runs[0] == runs[1]
        assert set(runs[0]) == {200, 500}

    def test_removed(self, sandbox: RunningSandbox, api: httpx.Client) -> None:
        first = sandbox.fault("status", status=500)
        sandbox.fault("status", status=503)
        sandbox.control("DELETE", f"/faults/{first}")
        assert api.get("/porting/events").status_code == 503
        sandbox.clear_faults()
        assert api.get("/porting/events").status_code == 200

    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            ({"kind": "plague"}, "'plague' is none of status"),
            ({"kind": "status", "often": True}, "'often' is none of"),
            ({"kind": "reset", "when": "later"}, "neither before nor after"),
            ({"kind": "webhook_fail", "error": "404"}, "none of 503, no_connection, timeout"),
        ],
    )
    def test_what_it_does_not_know_it_says(self, sandbox: RunningSandbox, spec: dict[str, Any], said: str) -> None:
        with pytest.raises(Refused, match=said):
            sandbox.control("POST", "/faults", spec)


def test_every_kind_is_tried_here() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*faults.py"))
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []
