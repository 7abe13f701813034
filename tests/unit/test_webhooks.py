"""Webhooks: nothing unsigned, old or malformed gets through, and whatever is signed is read losslessly."""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from telnyx_porting.errors import MalformedWebhook, SignatureError, StaleSignature
from telnyx_porting.webhooks import parse_webhook, verify_signature
from tests.support import samples
from tests.support.samples import ORDER, URL

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = PRIVATE.public_key().public_bytes_raw()
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))).public_key().public_bytes_raw()
NOW = datetime.fromtimestamp(1_700_000_000, UTC)
BODY = json.dumps(samples.webhook()).encode()


def sign(body: bytes = BODY, timestamp: str = "1700000000") -> str:
    return base64.b64encode(PRIVATE.sign(timestamp.encode() + b"|" + body)).decode()


def verify(
    body: bytes = BODY,
    timestamp: str | None = "1700000000",
    signature: str | None = None,
    keys: tuple[bytes, ...] = (KEY,),
    now: datetime = NOW,
) -> datetime:
    if signature is None:
        signature = sign(body, timestamp or "")
    return verify_signature(body, timestamp, signature, keys, now)


# Telnyx's scheme, computed with its own SDK: key, time, body and signature belong together.
VECTOR = (
    b'{"data":{"event_type":"porting_order.status_changed","id":"0c28cec1-b947-42af-a4b9-36976b4b76b0",'
    b'"occurred_at":"2026-09-14T08:41:07.502913Z","payload":{"customer_reference":"north-branch-17",'
    b'"id":"f6fadfa7-e5c1-4b62-9362-da5cc13da58a","status":{"details":[],"value":"in-process"},'
    b'"support_key":"sr_4d71e9","updated_at":"2026-09-14T08:41:07.502913Z",'
    b'"webhook_url":"https://hooks.example.net/portin"},"record_type":"event"},'
    b'"meta":{"attempt":1,"delivered_to":"https://hooks.example.net/portin"}}'
)
VECTOR_KEY = base64.b64decode("A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=")
VECTOR_SIGNATURE = "pIn16O518LeN+WUa+F3lfMIMOclRU6vjXdSdUHmj33KpRNc/n7w3JpC8au6yv0RTfRSHGeWXpOlT9HaB85GLBA=="


def test_the_known_vector_is_accepted() -> None:
    assert verify_signature(VECTOR, "1700000000", VECTOR_SIGNATURE, [VECTOR_KEY], NOW) == NOW
    assert parse_webhook(VECTOR).order_id == ORDER


def test_any_of_several_keys_will_do() -> None:
    assert verify(keys=(OTHER_KEY, KEY)) == NOW


@pytest.mark.parametrize("seconds", [-300, -1, 0, 299, 300])
def test_up_to_300_seconds_either_way_are_tolerated(seconds: int) -> None:
    assert verify(now=NOW + timedelta(seconds=seconds)) == NOW


@pytest.mark.parametrize("seconds", [-301, 301, 86_400])
def test_no_more_than_that(seconds: int) -> None:
    with pytest.raises(StaleSignature, match="more than 300 s") as caught:
        verify(now=NOW + timedelta(seconds=seconds))
    assert caught.value.offset == timedelta(seconds=-seconds)
    with pytest.raises(SignatureError) as forged:
        verify(now=NOW + timedelta(seconds=seconds), keys=(OTHER_KEY,))
    assert not isinstance(forged.value, StaleSignature)


@pytest.mark.parametrize(
    "timestamp",
    [
        None,
        "",
        "1700000000.0",
        " 1700000000",
        "1700000000 ",
        "+1700000000",
        "-1",
        "1e9",
        "0x1",
        "١٧٠٠",
        "1" * 12,
        "1\n",
    ],
)
def test_a_timestamp_is_1_to_11_digits(timestamp: str | None) -> None:
    with pytest.raises(SignatureError):
        verify(timestamp=timestamp)


@pytest.mark.parametrize(
    "bend",
    [
        lambda s: s[:-2],
        lambda s: s + "=",
        lambda s: s + "\n",
        lambda s: " " + s,
        lambda s: s.replace("+", "-").replace("/", "_").rstrip("="),
        lambda s: base64.b64encode(base64.b64decode(s)[:-1]).decode(),
        lambda s: base64.b64encode(base64.b64decode(s) + b"x").decode(),
        lambda s: base64.b64encode(bytes(64)).decode(),
        lambda s: "",
        lambda s: "\u00e9" * 88,
        # The last character carries four unused bits: the same bytes, written in another way.
        lambda s: s[:-3] + chr(ord(s[-3]) + 1) + "==",
    ],
)
def test_a_signature_is_the_canonical_base64_of_64_bytes(bend: object) -> None:
    with pytest.raises(SignatureError):
        verify(signature=bend(sign()))  # type: ignore[operator]


@pytest.mark.parametrize("keys", [(), (OTHER_KEY,), (b"short",), (KEY + b"x",), (b"",)])
def test_without_the_right_key_nothing_is_accepted(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(SignatureError):
        verify(keys=keys)


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_no_byte_may_differ(position: int, change: int) -> None:
    body = bytearray(BODY)
    body[position] ^= change
    with pytest.raises(SignatureError):
        verify(bytes(body), signature=sign())


def test_the_timestamp_is_signed_as_written() -> None:
    with pytest.raises(SignatureError):
        verify(timestamp="01700000000", signature=sign())
    assert verify(timestamp="01700000000") == NOW


# -- bodies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("enveloped", [True, False])
@pytest.mark.parametrize("kind", sorted(samples.PAYLOADS))
def test_both_envelopes_are_read(kind: str, enveloped: bool) -> None:
    webhook = parse_webhook(json.dumps(samples.webhook(kind, enveloped=enveloped)).encode())
    assert webhook.event_type == f"porting_order.{kind}"
    assert webhook.id == "0c28cec1-b947-42af-a4b9-36976b4b76b0"
    assert webhook.occurred_at == datetime(2026, 9, 16, 13, 5, 44, tzinfo=UTC)
    assert webhook.payload == samples.PAYLOADS[kind]
    assert webhook.order_id == ORDER
    assert (webhook.attempt, webhook.delivered_to) == ((2, URL) if enveloped else (None, None))


def test_text_that_is_no_unicode_is_kept() -> None:
    body = b'{"event_type":"porting_order.new_comment","payload":{"comment":{"body":"a\\u0000\\ud800z"}}}'
    payload = parse_webhook(body).payload
    assert payload == {"comment": {"body": "a\x00\ud800z"}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"{}",
        b'{"data":{}}',
        b'{"data":[],"event_type":7}',
        b'{"data":{"event_type":null}}',
        b"<html>",
        BODY[:-1],
        b"\xff\xfe",
        b'{"event_type":"x","payload":NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_anything_else_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedWebhook):
        parse_webhook(body)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_body_raises_anything_else(body: bytes) -> None:
    with contextlib.suppress(MalformedWebhook):
        parse_webhook(body)
