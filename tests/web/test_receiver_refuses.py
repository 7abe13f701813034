"""What the receiver refuses, and that nothing of it is stored; over real sockets, on both databases."""

from __future__ import annotations

import base64
import gzip
import time
from typing import Any

import httpx
import pytest

from tests.support.receivers import OTHER, PATH, Signer, World, count, encode, stored, webhook

pytestmark = pytest.mark.xdist_group("receiver")
MIB = 1 << 20


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
