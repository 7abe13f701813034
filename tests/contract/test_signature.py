"""Webhooks are signed as the documentation says: the published vector, and the SDK's own verifier."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import telnyx
import time_machine
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from include.sandbox.mail import webhooks

if TYPE_CHECKING:
    from include.sandbox.testing import RunningSandbox
    from tests.support.webhook_receiver import Receiver

PUBLIC_KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
TIMESTAMP = 1700000000
SIGNATURE = "pIn16O518LeN+WUa+F3lfMIMOclRU6vjXdSdUHmj33KpRNc/n7w3JpC8au6yv0RTfRSHGeWXpOlT9HaB85GLBA=="
BODY = (
    b'{"data":{"event_type":"porting_order.status_changed","id":"0c28cec1-b947-42af-a4b9-36976b4b76b0",'
    b'"occurred_at":"2026-09-14T08:41:07.502913Z","payload":{"customer_reference":"north-branch-17",'
    b'"id":"f6fadfa7-e5c1-4b62-9362-da5cc13da58a","status":{"details":[],"value":"in-process"},'
    b'"support_key":"sr_4d71e9","updated_at":"2026-09-14T08:41:07.502913Z",'
    b'"webhook_url":"https://hooks.example.net/portin"},"record_type":"event"},'
    b'"meta":{"attempt":1,"delivered_to":"https://hooks.example.net/portin"}}'
)


def test_the_published_vector() -> None:
    assert hashlib.sha256(BODY).hexdigest() == "ee0c189c9eb052dad60ba63ef6e1b9cb480929b9cd312440b370711053bab8ac"
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    headers = webhooks.signature_headers(key, BODY, TIMESTAMP)
    assert webhooks.public_key(key) == PUBLIC_KEY
    assert headers == {"telnyx-signature-ed25519": SIGNATURE, "telnyx-timestamp": str(TIMESTAMP)}
    with time_machine.travel(datetime.fromtimestamp(TIMESTAMP, UTC), tick=False):
        assert _sdk(PUBLIC_KEY).webhooks.unwrap(BODY.decode(), headers=headers)


def test_the_sdk_takes_every_attempt(sandbox: RunningSandbox, receiver: Receiver) -> None:
    receiver.answers = [500, 200]
    sandbox.subscribe(receiver.url)
    order = sandbox.order(numbers=3)
    sandbox.act(order, "status", value="in-process", complete_after=0)
    sandbox.act(order, "comment", body="Ünïcode \u2028 {{ x }} \u0000", complete_after=0)
    sandbox.act(order, "split", numbers=2, complete_after=0)
    sandbox.settle()
    assert len(receiver.received) == 5
    sdk = _sdk(sandbox.public_key)
    for post in receiver.received:
        assert sdk.webhooks.unwrap(post.body.decode(), headers=post.headers)
        with pytest.raises(ValueError, match="does not match"):
            sdk.webhooks.unwrap(post.body.decode() + " ", headers=post.headers)


def test_every_attempt_is_signed_afresh(sandbox: RunningSandbox, receiver: Receiver) -> None:
    receiver.answers = [500, 200]
    sandbox.delivery_rules(retry_delays=[1.1])
    sandbox.subscribe(receiver.url)
    sandbox.burst(1, complete_after=0)
    sandbox.settle()
    first, second = (int(post.headers["telnyx-timestamp"]) for post in receiver.received)
    assert first < second <= time.time()
    assert [post.document["meta"]["attempt"] for post in receiver.received] == [1, 2]


def test_the_clock_skew_is_in_signature_and_date(sandbox: RunningSandbox, receiver: Receiver) -> None:
    sandbox.subscribe(receiver.url)
    sandbox.switches(clock_skew_seconds=-400)
    sandbox.burst(1, complete_after=0)
    sandbox.settle()
    (post,) = receiver.received
    assert int(post.headers["telnyx-timestamp"]) == pytest.approx(time.time() - 400, abs=3)
    with pytest.raises(ValueError, match="too old"):
        _sdk(sandbox.public_key).webhooks.unwrap(post.body.decode(), headers=post.headers)


def test_the_key_belongs_to_the_seed(sandbox: RunningSandbox) -> None:
    before = sandbox.public_key
    sandbox.reset(seed=1)
    assert sandbox.public_key == before
    sandbox.reset(seed=2)
    assert sandbox.public_key != before


def _sdk(public_key: str) -> telnyx.Telnyx:
    return telnyx.Telnyx(api_key="KEY_UNUSED", public_key=public_key)
