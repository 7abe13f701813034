"""What is known of the receiver: its coverage, refusals, clock, health, counters, and a log that holds no secret."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.receivers import (
    ACCOUNT,
    OTHER,
    PATH,
    Signer,
    World,
    encode,
    feed,
    receiver,
    url_of,
    webhook,
)

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

pytestmark = pytest.mark.xdist_group("receiver")


def test_coverage_begins_with_the_first_verified_webhook(ledger: Ledger) -> None:
    """A receiver nobody has registered must not make anything look missed; a foreign webhook proves no port-ins."""
    signer = Signer()
    account = "telnyx_fresh"
    path = f"/webhooks/telnyx/{account}"
    with receiver(url_of(ledger), [f"{account}={signer.public}"]) as running:
        begin = feed(ledger, account)
        assert begin["heartbeat"] is not None
        assert begin["covers_from"] is None
        running.post(encode(webhook()), Signer().headers(b""), path)
        assert feed(ledger, account)["covers_from"] is None
        foreign = encode({"data": {"event_type": "message.received", "payload": {}}})
        earlier = int(time.time()) - 30
        assert running.post(foreign, signer.headers(foreign, str(earlier)), path).status_code == 200
        assert feed(ledger, account)["covers_from"].timestamp() == earlier
        assert feed(ledger, account)["proved_at"] is None
        body = encode(webhook())
        assert running.post(body, signer.headers(body), path).status_code == 200
        proved = feed(ledger, account)["proved_at"]
        assert proved is not None
        for timestamp in (earlier - 60, int(time.time()) + 60):
            body = encode(webhook())
            assert running.post(body, signer.headers(body, str(timestamp)), path).status_code == 200
        end = feed(ledger, account)
    assert end["covers_from"].timestamp() == earlier
    assert end["proved_at"] == proved
    assert end["outages"] is None
    assert end["heartbeat"] > begin["heartbeat"]


def test_refused_signatures_are_counted_until_a_good_one(world: World) -> None:
    def post(signer: Signer, account: str = ACCOUNT) -> int:
        body = encode(webhook())
        return world.running.post(body, signer.headers(body), f"/webhooks/telnyx/{account}").status_code

    assert post(world.new) == 200
    assert feed(world.ledger)["refused"] == 0
    stranger = Signer()
    assert [post(stranger) for _ in range(3)] == [401] * 3
    assert post(world.other, OTHER) == 200  # any write takes the count along
    assert feed(world.ledger)["refused"] == 3
    assert [post(stranger) for _ in range(2)] == [401] * 2
    assert post(world.other, OTHER) == 200
    assert feed(world.ledger)["refused"] == 5
    assert feed(world.ledger, OTHER)["refused"] == 0
    assert post(stranger) == 401
    assert post(world.new) == 200
    assert feed(world.ledger)["refused"] == 0


def test_a_signature_that_only_its_time_makes_wrong_shows_how_far_the_clock_is_off(world: World) -> None:
    """It is refused like any other, and tells a wrong clock from a wrong key; the next good one ends it."""

    def post(signer: Signer, timestamp: int) -> int:
        body = encode(webhook())
        answer = world.running.post(body, signer.headers(body, str(timestamp)))
        assert post_other(world) == 200  # any write takes what is known along
        return answer.status_code

    def offset() -> float:
        return feed(world.ledger)["clock_offset"] / 1000

    assert post(world.new, int(time.time())) == 200
    assert abs(offset()) < 5
    for seconds in (400, -400, 90_000_000_000):
        assert post(world.new, int(time.time()) + seconds) == 401
        assert abs(offset() - seconds) < 5
    assert feed(world.ledger)["refused"] == 3
    assert post(world.new, int(time.time())) == 200
    assert post(Signer(), int(time.time()) + 400) == 401
    assert abs(offset()) < 5
    assert post(world.new, int(time.time())) == 200
    assert feed(world.ledger)["refused"] == 0


def post_other(world: World) -> int:
    body = encode(webhook())
    return world.running.post(body, world.other.headers(body), f"/webhooks/telnyx/{OTHER}").status_code


def test_it_says_whether_it_is_alive_and_ready_and_no_more(world: World) -> None:
    assert world.running.get("/healthz").text == "ok"
    assert world.running.get("/readyz").text == "ok"


def test_counters_are_on_a_local_port_of_their_own(world: World) -> None:
    name = f'telnyx_porting_receiver_answers_total{{account="{ACCOUNT}",status="200"}}'
    before = world.running.counter(name)
    body = encode(webhook())
    assert world.post(body).status_code == 200
    assert world.running.counter(name) == before + 1
    assert world.running.counters.startswith("http://127.0.0.1:")
    answer = httpx.post(world.running.counters + PATH, content=body, headers=world.new.headers(body))
    assert answer.status_code == 404
    assert world.running.get("/metrics").status_code == 404


def test_what_comes_to_another_path_is_counted(world: World) -> None:
    name = 'telnyx_porting_receiver_answers_total{account="",status="404"}'
    for path in ("/", "/webhooks/telnyx", "/webhooks", f"{PATH}/more", "/telnyx"):
        before = world.running.counter(name)
        body = encode(webhook())
        assert world.running.post(body, world.new.headers(body), path).status_code == 404
        assert world.running.counter(name) == before + 1, path


def test_no_log_holds_anything_of_a_body_or_a_key(world: World) -> None:
    marked = webhook(payload={"id": "MARK-order", "customer_reference": "MARK-reference"})
    body = encode(marked)
    world.post(body)
    world.running.post(body, Signer().headers(body))
    world.post(b"MARK not json")
    world.running.exchange(b"MARK / HTTP/9\r\n\r\n")
    assert "MARK" not in world.running.log()
    assert world.new.public not in world.running.log()
