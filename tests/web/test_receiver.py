"""What the receiver answers and what is then in the ledger, over real sockets, on both databases."""

from __future__ import annotations

import base64
import gzip
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from telnyx_porting.models import parse_time
from tests.support.ledgers import postgres_server  # noqa: F401  (a fixture)
from tests.support.receivers import (
    ACCOUNT,
    PATH,
    Running,
    Signer,
    both_databases,
    count,
    encode,
    feed,
    raw_request,
    read_answer,
    receiver,
    stored,
    url_of,
    webhook,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.ledger.engine import Ledger

pytestmark = pytest.mark.xdist_group("receiver")
MIB = 1 << 20
OTHER = "telnyx_other"
ledger = both_databases("module")


@dataclass
class World:
    """A receiver of two accounts, the first with an old and a new key."""

    running: Running
    ledger: Ledger
    old: Signer
    new: Signer
    other: Signer

    def post(self, body: bytes, **changes: str) -> httpx.Response:
        return self.running.post(body, self.new.headers(body) | changes)

    def raw(self, body: bytes, headers: list[tuple[str, str]], path: str = PATH) -> tuple[int, bytes]:
        lines = [f"POST {path} HTTP/1.1", "host: x", *(f"{name}: {value}" for name, value in headers)]
        head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""])
        with self.running.connect() as connection:
            connection.sendall(head.encode("latin-1") + body)
            answer = read_answer(connection)
        return int(answer.split(b" ", 2)[1]), re.sub(rb"date: [^\r]*", b"", answer)


@pytest.fixture(scope="module")
def world(ledger: Ledger) -> Iterator[World]:
    old, new, other = Signer(), Signer(), Signer()
    keys = [f"{ACCOUNT}={old.public}", f"{ACCOUNT}={new.public}", f"{OTHER}={other.public}"]
    with receiver(url_of(ledger), keys) as running:
        yield World(running, ledger, old, new, other)
        assert running.process.poll() is None


# -- what is taken ----------------------------------------------------------------------------------------------------


def test_a_valid_webhook_is_in_the_ledger_when_it_is_answered(world: World) -> None:
    document = webhook()
    body = encode(document)
    headers = world.new.headers(body)
    assert world.running.post(body, headers).status_code == 200
    [row] = stored(world.ledger, body)
    data, payload = document["data"], document["data"]["payload"]
    assert row["account"] == ACCOUNT
    assert row["source"] == "receiver"
    assert row["ok"] is True
    assert row["signed_at"] == datetime.fromtimestamp(int(headers["telnyx-timestamp"]), UTC)
    assert row["source_id"].startswith(headers["telnyx-timestamp"] + ":")
    assert row["webhook_id"] == data["id"]
    assert row["type"] == data["event_type"]
    assert row["order_id"] == payload["id"]
    assert row["occurred_at"] == parse_time(data["occurred_at"])
    assert row["natural_key"] == f"status_changed:{payload['id']}:in-process:{payload['updated_at'][:19]}"
    assert row["natural_at"] == payload["updated_at"]
    assert row["destination"] == document["meta"]["delivered_to"]
    assert row["event_id"] is None
    assert row["matched"] is None
    assert abs(row["stored_at"] - datetime.now(UTC)) < timedelta(seconds=30)


def test_the_bare_envelope_is_taken_and_its_path_is_its_destination(world: World) -> None:
    body = encode(
        {
            "id": "ca3ab343-ac33-4b68-be9b-f77c6519a9d5",
            "event_type": "porting_order.messaging_changed",
            "occurred_at": "2026-10-01T15:00:12Z",
            "urls": ["https://hooks.example.net/portin"],
            "payload": {"id": "2c63888f-28f0", "messaging": {"messaging_port_status": "exception"}},
        }
    )
    assert world.post(body).status_code == 200
    [row] = stored(world.ledger, body)
    assert row["type"] == "porting_order.messaging_changed"
    assert row["natural_key"] == "messaging_changed:2c63888f-28f0:exception"
    assert row["natural_at"] == "2026-10-01T15:00:12Z"
    assert row["destination"] == PATH


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": None},
        {"data": {"event_type": "porting_order.invented", "id": "x", "payload": {"a": [1, 2]}}},
        {"data": {"event_type": 7, "id": {"a": 1}, "occurred_at": [], "payload": "text"}, "meta": []},
        {"event_type": "message.received", "payload": None},
        webhook(id="i" * 5000, event_type="porting_order.new_comment", payload={"comment": {"id": "c" * 100_000}}),
        webhook(payload={"id": "nul\x00", "status": {"value": "\ud800"}, "updated_at": "2026-10-01T00:00:00Z"}),
    ],
    ids=["empty", "no data", "unknown type", "wrong types", "not a port-in", "endless ids", "hostile text"],
)
def test_a_signed_object_of_unknown_shape_is_kept(world: World, document: dict[str, Any]) -> None:
    body = encode(document | {"unique": time.time_ns()})
    assert world.post(body).status_code == 200
    assert len(stored(world.ledger, body)) == 1


def test_the_same_request_again_is_a_replay_and_adds_nothing(world: World) -> None:
    body = encode(webhook())
    headers = world.new.headers(body)
    for _ in range(3):
        assert world.running.post(body, headers).status_code == 200
    assert len(stored(world.ledger, body)) == 1


def test_the_same_body_signed_at_another_time_is_a_new_delivery(world: World) -> None:
    body = encode(webhook())
    now = int(time.time())
    for timestamp in (now - 40, now):
        assert world.running.post(body, world.new.headers(body, str(timestamp))).status_code == 200
    assert [row["signed_at"].timestamp() for row in stored(world.ledger, body)] == [now - 40, now]


def test_old_and_new_key_are_both_good_while_one_replaces_the_other(world: World) -> None:
    for signer in (world.old, world.new):
        body = encode(webhook())
        assert world.running.post(body, signer.headers(body)).status_code == 200
        assert len(stored(world.ledger, body)) == 1


def test_a_connection_may_carry_many_webhooks(world: World) -> None:
    bodies = [encode(webhook()) for _ in range(5)]
    with world.running.connect() as connection:
        for body in bodies:
            connection.sendall(raw_request(body, world.new.headers(body)))
            assert read_answer(connection).startswith(b"HTTP/1.1 200 ")
    assert all(len(stored(world.ledger, body)) == 1 for body in bodies)


def test_a_body_of_one_mebibyte_is_taken(world: World) -> None:
    empty = len(encode({"fill": ""}))
    body = encode({"fill": "x" * (MIB - empty)})
    assert len(body) == MIB
    assert world.post(body).status_code == 200
    assert len(stored(world.ledger, body)) == 1


# -- what is not ------------------------------------------------------------------------------------------------------


def good(world: World, body: bytes) -> list[tuple[str, str]]:
    return list(world.new.headers(body).items())


def without(index: int) -> Any:
    return lambda world, body: [header for n, header in enumerate(good(world, body)) if n != index]


def twice(index: int) -> Any:
    return lambda world, body: [*good(world, body), good(world, body)[index]]


def signed(timestamp: Any) -> Any:
    return lambda world, body: list(world.new.headers(body, str(timestamp())).items())


def changed(change: Any) -> Any:
    def headers(world: World, body: bytes) -> list[tuple[str, str]]:
        (name, timestamp), (other, signature) = good(world, body)
        return [(name, timestamp), (other, change(signature))]

    return headers


def seconds(difference: int) -> Any:
    return lambda: int(time.time()) + difference


def other_spelling(signature: str) -> str:
    """The same 64 bytes for a lenient decoder: the two bits that base64 leaves over are set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet[alphabet.index(signature[-3]) | 1]
    spelled = signature[:-3] + last + "=="
    assert base64.b64decode(spelled) == base64.b64decode(signature)
    return spelled


BAD = {
    "no headers": lambda world, body: [],
    "no timestamp": without(0),
    "no signature": without(1),
    "two timestamps": twice(0),
    "two signatures": twice(1),
    "too old": signed(seconds(-310)),
    "too new": signed(seconds(310)),
    "long ago": signed(lambda: 0),
    "far away": signed(lambda: 99999999999),
    "underscore": signed(lambda: f"1_{int(time.time()) - 10**9}"),
    "plus": signed(lambda: f"+{int(time.time())}"),
    "fraction": signed(lambda: f"{int(time.time())}.0"),
    "hexadecimal": signed(lambda: hex(int(time.time()))),
    "superscript": signed(lambda: f"{int(time.time())}\u00b2"),
    "twelve digits": signed(lambda: f"00{int(time.time())}"),
    "signature of nothing": changed(lambda signature: ""),
    "signature too short": changed(lambda signature: base64.b64encode(b"x" * 63).decode()),
    "signature too long": changed(lambda signature: base64.b64encode(b"x" * 65).decode()),
    "other spelling": changed(other_spelling),
    "no padding": changed(lambda signature: signature.rstrip("=")),
    "quoted": changed(lambda signature: f'"{signature}"'),
    "two in one": changed(lambda signature: f"{signature},{signature}"),
    "in hexadecimal": changed(lambda signature: base64.b64decode(signature).hex()),
    "other account's key": lambda world, body: list(world.other.headers(body).items()),
    "stranger's key": lambda world, body: list(Signer().headers(body).items()),
    "other body": lambda world, body: good(world, body + b" "),
}


@pytest.mark.parametrize("headers", BAD.values(), ids=BAD.keys())
def test_a_bad_signature_is_refused_like_an_unknown_account_and_nothing_is_stored(world: World, headers: Any) -> None:
    body = encode(webhook())
    before = count(world.ledger)
    chosen = headers(world, body)
    status, refused = world.raw(body, chosen)
    assert status == 401
    assert world.raw(body, chosen, "/webhooks/telnyx/nobody") == (401, refused)
    assert world.raw(body, good(world, body), "/webhooks/telnyx/nobody") == (401, refused)
    assert count(world.ledger) == before


def test_a_signature_for_one_account_is_none_for_another(world: World) -> None:
    body = encode(webhook())
    assert world.running.post(body, world.new.headers(body), f"/webhooks/telnyx/{OTHER}").status_code == 401
    assert world.running.post(body, world.other.headers(body), f"/webhooks/telnyx/{OTHER}").status_code == 200
    assert [row["account"] for row in stored(world.ledger, body)] == [OTHER]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b'"text"', b"1", b"{", b'{"data":', b"\xff\xfe", b"[" * 100_000, b"{'a':1}"],
    ids=["empty", "list", "null", "text", "number", "open", "truncated", "no UTF-8", "deep", "no JSON"],
)
def test_a_signed_body_that_is_no_object_is_refused(world: World, body: bytes) -> None:
    before = count(world.ledger)
    assert world.post(body).status_code == 400
    assert count(world.ledger) == before


def test_the_body_is_never_decoded(world: World) -> None:
    body = gzip.compress(encode(webhook()))
    before = count(world.ledger)
    assert world.post(body, **{"content-encoding": "gzip"}).status_code == 400
    assert count(world.ledger) == before


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_more_than_one_mebibyte_is_refused_while_it_is_read(world: World, announced: bool) -> None:
    body = encode({"fill": "x" * MIB})
    headers = world.new.headers(body)
    before = count(world.ledger)
    content: Any = body if announced else iter([body[: MIB // 2], body[MIB // 2 :]])
    assert httpx.post(world.running.url + PATH, content=content, headers=headers).status_code == 413
    assert count(world.ledger) == before


def test_only_post_and_only_known_paths(world: World) -> None:
    assert world.running.get(PATH).status_code == 404
    for path in ("/", "/webhooks/telnyx/", f"{PATH}/more", "/docs", "/metrics"):
        assert world.running.post(b"{}", {}, path).status_code in (404, 405), path


# -- what is known of it afterwards -----------------------------------------------------------------------------------


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


def test_no_log_holds_anything_of_a_body_or_a_key(world: World) -> None:
    marked = webhook(payload={"id": "MARK-order", "customer_reference": "MARK-reference"})
    body = encode(marked)
    world.post(body)
    world.running.post(body, Signer().headers(body))
    world.post(b"MARK not json")
    world.running.exchange(b"MARK / HTTP/9\r\n\r\n")
    assert "MARK" not in world.running.log()
    assert world.new.public not in world.running.log()
