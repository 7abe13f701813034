"""One answer: errors and bodies of every kind are survived, named, and bounded."""

from __future__ import annotations

import asyncio
import gzip
import traceback
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from telnyx_porting.client import connections
from telnyx_porting.errors import (
    ConnectError,
    ContractError,
    EnvelopeError,
    InvalidRequestError,
    NotJsonError,
    RequestTimeout,
    StatusError,
    TransportError,
)
from tests.support import samples
from tests.support.samples import EVENT
from tests.support.scripted import GOOD, Script, get, ok

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

BODIES = [
    b"",
    b"   ",
    b"<html><body>Bad gateway</body></html>",
    b'{"errors":[{"code":"10031","ti',
    b'{"errors":[]}',
    b'{"errors":{}}',
    b'{"errors":[7]}',
    b'{"errors":[{"code":7,"title":["x"],"source":"y"}]}',
    b"[]",
    b"null",
    b"\xff\xfe\x00",
]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500, 302])
@pytest.mark.parametrize("body", BODIES)
def test_any_error_body_is_survived(status: int, body: bytes) -> None:
    with pytest.raises(StatusError) as caught:
        get(Script(httpx.Response(status, content=body)))
    assert caught.value.status == status


def test_an_error_says_what_telnyx_said_and_nothing_of_its_detail() -> None:
    error = {"code": "10031", "title": "Invalid\nfilter", "detail": "of Jane Doe", "source": {"parameter": "filter[x]"}}
    with pytest.raises(InvalidRequestError) as caught:
        get(Script(httpx.Response(422, json={"errors": [error]}, headers={"x-request-id": "r-1"})))
    assert (caught.value.code, caught.value.title, caught.value.parameter) == ("10031", "Invalid filter", "filter[x]")
    assert caught.value.request_id == "r-1"
    assert caught.value.path == f"/porting/events/{EVENT}"
    assert "Jane" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[]", EnvelopeError),
        (b"null", EnvelopeError),
        (b"{}", EnvelopeError),
        (b'{"data":[]}', EnvelopeError),
        (b'{"data":{}}', EnvelopeError),
        (b'{"data":{"id":7}}', EnvelopeError),
        (b"<html>", NotJsonError),
        (b"[" * 100_000, NotJsonError),
    ],
)
def test_a_body_that_is_not_the_envelope_is_a_contract_error(body: bytes, error: type[ContractError]) -> None:
    with pytest.raises(error):
        get(Script(httpx.Response(200, content=body)))


@pytest.mark.parametrize("odd", [{}, {"id": None}, {"id": 7}, {"id": ""}, {"id": "x" * 201}, None, 7, "text", [[]]])
def test_a_bad_row_is_named_once_all_others_were_given(odd: object) -> None:
    rows = [samples.event(), odd, samples.event(id=str(uuid.uuid4()))]
    script = Script(httpx.Response(200, json={"data": rows, "meta": {"total_results": 3}}))
    given: list[str] = []

    async def run() -> None:
        async with script.client() as client:
            async for event in client.iter_porting_events():
                given.append(event.id)

    with pytest.raises(EnvelopeError, match="but not (an event without id|an event with an id of|no object)"):
        asyncio.run(run())
    assert len(script.requests) == 1, "read once, it is proved"
    assert sorted(given) == sorted(row["id"] for row in (rows[0], rows[2]) if isinstance(row, dict))


class Endless(httpx.AsyncByteStream):
    """A body without end."""

    def __init__(self) -> None:
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" " * 2**20

    async def aclose(self) -> None:
        self.closed = True


def test_a_body_without_end_is_given_up() -> None:
    stream = Endless()
    with pytest.raises(ContractError, match="larger than"):
        get(Script(lambda request: httpx.Response(200, stream=stream)))
    assert stream.closed


def test_a_packed_bomb_is_given_up() -> None:
    bomb = gzip.compress(b" " * (connections.MAX_BODY + 1))

    class Packed(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield bomb

    with pytest.raises(ContractError, match="larger than"):
        get(Script(lambda request: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Packed())))


def test_a_packed_body_is_unpacked_and_a_broken_one_is_no_json() -> None:
    packed = gzip.compress(httpx.Response(200, json=GOOD).content)

    class Stream(httpx.AsyncByteStream):
        def __init__(self, body: bytes) -> None:
            self.body = body

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield self.body

    def answer(body: bytes) -> Callable[[httpx.Request], httpx.Response]:
        return lambda request: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Stream(body))

    assert get(Script(answer(packed))).id == EVENT
    with pytest.raises(NotJsonError):
        get(Script(answer(b"not gzip")))


async def test_a_trickle_is_ended_by_the_timeout() -> None:
    """httpx's own time-out starts anew with every byte."""

    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0)

    script = Script(lambda request: httpx.Response(200, stream=Trickle()))
    async with script.client(timeout=0.02) as client:
        with pytest.raises(RequestTimeout):
            await client.republish_porting_event(EVENT)


async def test_errors_keep_their_cause() -> None:
    cause = OSError("no route to host")

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("failed") from cause

    script = Script(refuse)
    async with script.client() as client:
        with pytest.raises(ConnectError) as caught:
            async for _ in client.iter_porting_events():
                pass
    assert isinstance(caught.value.__cause__, httpx.ConnectError)
    assert caught.value.__cause__.__cause__ is cause


async def test_the_providers_clock_is_noticed() -> None:
    script = Script(
        ok(), lambda request: httpx.Response(200, json=GOOD, headers={"date": "Sat, 31 Oct 2026 00:02:00 GMT"})
    )
    async with script.client() as client:
        await client.get_porting_event(EVENT)
        assert client.clock_offset is None
        await client.get_porting_event(EVENT)
        assert client.clock_offset == timedelta(seconds=120.5)
        assert client.requests_made == 2


def test_other_trouble_is_a_transport_error() -> None:
    with pytest.raises(TransportError):
        get(Script(httpx.LocalProtocolError("x")))
    with pytest.raises(TransportError):
        get(Script(OSError("x")))
