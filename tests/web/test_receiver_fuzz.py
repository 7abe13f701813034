"""Whatever arrives without a valid signature: never accepted, never an error of ours, and nothing of it stays."""

from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telnyx_porting.errors import MalformedWebhook
from telnyx_porting.flows.deliveries.receipts import read_receipt, store_receipts
from telnyx_porting.models.reading import parse_time
from tests.support.receivers import (
    ACCOUNT,
    PATH,
    Signer,
    count,
    encode,
    raw_request,
    receiver,
    stored,
    url_of,
    webhook,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from telnyx_porting.ledger.engine import Ledger

pytestmark = pytest.mark.xdist_group("receiver-fuzz")
SIGNER = Signer()
STRANGER = Signer()
GROWTH = 30 << 20  # bytes that caches may take

ODD_LINES = [
    b"transfer-encoding: chunked",
    b"transfer-encoding: gzip, chunked",
    b"content-length: 5",
    b"content-length: -1",
    b"content-length: 99999999999999999999999",
    b"content-encoding: gzip",
    b"expect: 100-continue",
    b"connection: upgrade\r\nupgrade: websocket",
    b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: x",
    b"telnyx-timestamp: 1",
    b"telnyx-signature-ed25519: x",
    b"x: \xff\xfe\x00",
    b"\x00",
    b" folded",
    b"no colon",
    b"x" * 70_000 + b": y",
    b"connection: close",
]
ODD_STARTS = [
    b"GET / HTTP/1.1",
    b"POST * HTTP/1.1",
    b"POST http://[::1 HTTP/1.1",
    b"POST //webhooks/telnyx/x HTTP/1.1",
    b"POST /webhooks/telnyx/%ff%00 HTTP/1.1",
    b"POST /webhooks/telnyx/../../etc/passwd HTTP/1.1",
    b"POST /webhooks/telnyx/\xc3\xa4 HTTP/1.1",
    b"CONNECT x:1 HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"POST " + PATH.encode() + b" HTTP/1.0",
    b"POST " + PATH.encode() + b" HTTP/9.9",
    b"POST " + PATH.encode() + b"?" + b"q" * 3000 + b" HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


def forged(chance: random.Random) -> bytes:
    """A request as good as somebody without the key can make one."""
    body = encode(webhook())
    stale = SIGNER.headers(body, "1700000000")
    altered = SIGNER.headers(body + b" ")
    return raw_request(body, chance.choice([STRANGER.headers(body), stale, altered, {}]))


def flip(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def odd_line(chance: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    lines.insert(chance.randint(1, 4), chance.choice(ODD_LINES))
    return b"\r\n".join(lines)


def odd_start(chance: random.Random, data: bytes) -> bytes:
    return chance.choice(ODD_STARTS) + data[data.index(b"\r\n") :]


CHANGES: list[Callable[[random.Random, bytes], bytes]] = [
    lambda chance, data: data,
    flip,
    odd_line,
    odd_start,
    lambda chance, data: data[: chance.randrange(len(data))],
    lambda chance, data: data + chance.randbytes(chance.randint(1, 300)),
    lambda chance, data: data * chance.randint(2, 4),
    lambda chance, data: chance.randbytes(chance.randint(1, 2000)),
    lambda chance, data: data.replace(b"\r\n", b"\n"),
    lambda chance, data: odd_line(chance, odd_line(chance, odd_start(chance, data))),
]


def statuses(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d+)", answer)


def fuzz(ledger: Ledger, requests: int, seed: int) -> None:
    chance = random.Random(seed)
    with receiver(url_of(ledger), [f"{ACCOUNT}={SIGNER.public}"]) as running, ThreadPoolExecutor(8) as senders:
        process = psutil.Process(running.process.pid)
        held = 0
        for start in range(0, requests, 100):
            batch = [chance.choice(CHANGES)(chance, forged(chance)) for _ in range(100)]
            for data, answer in zip(batch, senders.map(running.exchange, batch), strict=True):
                assert not [one for one in statuses(answer) if one[:1] not in b"14"], (data, answer)
            if start < requests // 5:  # caches are filled by then
                held = process.memory_info().rss
        assert process.memory_info().rss < held + GROWTH
        assert count(ledger) == 0
        assert running.process.poll() is None
        assert len(running.log().splitlines()) == 1
        body = encode(webhook())
        assert running.post(body, SIGNER.headers(body)).status_code == 200


def test_300_requests_without_a_valid_signature(file_ledger: Ledger) -> None:
    fuzz(file_ledger, 300, seed=random.randrange(1 << 30))


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_10_000_requests_without_a_valid_signature(file_ledger: Ledger) -> None:
    fuzz(file_ledger, 10_000, seed=1)


# What has a valid signature is stored, whatever it is made of.
TEXT = st.text(max_size=40) | st.sampled_from(
    ["\x00", "\ud800", "\x01", "x" * 5000, "\U0001f4e6" * 400, "2026-10-01T00:00:00Z"]
)
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
ANY = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
NOW = parse_time("2026-10-01T00:00:00Z")
assert NOW is not None


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Objects near enough to a webhook that each column can become odd."""
    kinds = ("status_changed", "new_comment", "split", "messaging_changed", "deleted", "invented")
    data = {
        "id": draw(ANY),
        "event_type": draw(st.sampled_from([f"porting_order.{kind}" for kind in kinds]) | ANY),
        "occurred_at": draw(ANY),
        "payload": draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "id": TEXT,
                    "porting_order_id": TEXT,
                    "status": st.fixed_dictionaries({"value": TEXT}) | ANY,
                    "updated_at": TEXT,
                    "deleted_at": TEXT,
                    "comment": st.fixed_dictionaries({"id": TEXT}) | ANY,
                    "from": st.fixed_dictionaries({"id": TEXT}) | ANY,
                    "to": st.fixed_dictionaries({"id": TEXT}) | ANY,
                    "messaging": st.fixed_dictionaries({"messaging_port_status": TEXT}) | ANY,
                },
            )
            | ANY
        ),
    }
    return draw(st.sampled_from([data, {"data": data, "meta": {"delivered_to": draw(ANY)}}]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(batch=st.lists(documents(), min_size=1, max_size=5))
def test_whatever_a_signed_object_is_made_of_it_is_stored(ledger: Ledger, batch: list[dict[str, Any]]) -> None:
    assert NOW is not None
    bodies = [encode(document) for document in batch]
    rows = [read_receipt(ACCOUNT, body, NOW, PATH, NOW) for body in bodies]
    store_receipts(ledger, [ACCOUNT], rows, {}, NOW)
    for body, row in zip(bodies, rows, strict=True):
        [held] = stored(ledger, body)
        assert {name: held[name] for name in row} == row


@given(value=ANY)
def test_only_objects_become_receipts(value: Any) -> None:
    assert NOW is not None
    if isinstance(value, dict):
        assert read_receipt(ACCOUNT, encode(value), NOW, PATH, NOW)["account"] == ACCOUNT
    else:
        with pytest.raises(MalformedWebhook):
            read_receipt(ACCOUNT, encode(value), NOW, PATH, NOW)
