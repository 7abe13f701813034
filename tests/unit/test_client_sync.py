"""The blocking face, over real sockets: the same verbs, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from telnyx_porting.client import AsyncTelnyxClient, TelnyxClient
from telnyx_porting.client import windows as windows_module
from telnyx_porting.errors import ConnectError, NotFoundError, SettingsError
from tests.support import samples
from tests.support.mirror import START, event
from tests.support.samples import EVENT

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = [
    event(n, START) | {"created_at": f"2026-09-{1 + n // 1440:02d}T{n // 60 % 24:02d}:{n % 60:02d}:00Z"}
    for n in range(90)
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if "page[number]" not in query:
            return self._say(200 if parts.path.endswith(EVENT) else 404, {"data": samples.event()})
        low, high = query.get("filter[created_at][gte]", ""), query.get("filter[created_at][lte]", "9")
        found = [row for row in EVENTS if low <= row["created_at"] <= high]
        size, number = int(query["page[size]"]), int(query["page[number]"])
        meta = {"total_results": len(found)}
        return self._say(200, {"data": found[(number - 1) * size : number * size], "meta": meta})

    def do_POST(self) -> None:
        self._say(204, None)

    def _say(self, status: int, body: Any) -> None:
        content = b"" if body is None else orjson.dumps(body)
        self.send_response(status)
        if body is not None:
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v2"
    server.shutdown()
    thread.join()
    server.server_close()


def own_sockets(url: str) -> int:
    """Count this process's connections to the server, from its own end."""
    port = f"{int(url.rsplit(':', 1)[1].split('/')[0]):04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {line.split()[9] for line in lines if line.split()[2].endswith(f":{port}")}
    count = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except OSError:
            continue
        count += target.removeprefix("socket:[").rstrip("]") in inodes
    return count


def portals() -> set[threading.Thread]:
    """Threads other than the server's and the main one."""
    return {thread for thread in threading.enumerate() if "process_request" not in thread.name}


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "ROWS_PER_WINDOW", 8)


@pytest.fixture
def nothing_left(url: str) -> Iterator[None]:
    threads = portals()
    yield
    gc.collect()
    assert portals() <= threads
    assert own_sockets(url) == 0


pytestmark = pytest.mark.usefixtures("nothing_left")


def test_a_listing_crosses_the_portal_once_per_window(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with TelnyxClient("KEY", url) as client:
        calls = 0
        real = client._portal.call

        def counted(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            return real(*args)

        monkeypatch.setattr(client._portal, "call", counted)
        assert [row.id for row in client.iter_porting_events(page_size=4)] == [row["id"] for row in EVENTS]
        assert calls < len(EVENTS) / 3


@pytest.mark.parametrize("how", ["close", "drop", "leave the block", "error"])
def test_leaving_a_listing_early_leaves_nothing(url: str, how: str) -> None:
    with TelnyxClient("KEY", url, max_concurrency=4) as client:
        rows = client.iter_porting_events(page_size=4)
        next(rows)
        assert own_sockets(url) > 0
        if how == "close":
            rows.close()  # type: ignore[attr-defined]
        elif how == "drop":
            del rows
        elif how == "error":
            with pytest.raises(ZeroDivisionError):
                sum(1 / 0 for _ in rows)


@pytest.mark.parametrize("turns", [1, 5, 10, 20, 40])
async def test_a_client_closed_while_requests_run_leaves_nothing(url: str, turns: int) -> None:
    """Whether they were about to connect, to write or to read."""
    client = AsyncTelnyxClient("KEY", url, max_concurrency=4)
    running = [asyncio.ensure_future(client.get_porting_event(EVENT)) for _ in range(8)]
    for _ in range(turns):
        await asyncio.sleep(0)
    await client.aclose()
    await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize("left", [3, 2, 1])
async def test_the_request_that_closes_all_connections_may_be_cancelled_in_it(url: str, left: int) -> None:
    """The last one on its way closes them, and after an error the others are cancelled."""
    client = AsyncTelnyxClient("KEY", url, max_concurrency=4)
    await asyncio.gather(*(client.get_porting_event(EVENT) for _ in range(4)))
    last = asyncio.ensure_future(client.get_porting_event(EVENT))
    await asyncio.sleep(0)
    await client.aclose()
    while own_sockets(url) > left:
        await asyncio.sleep(0)
    last.cancel()
    await asyncio.gather(last, return_exceptions=True)


@pytest.mark.parametrize("how", ["close", "drop"])
def test_leaving_a_listing_early_ends_its_tasks_at_once(url: str, how: str) -> None:
    with TelnyxClient("KEY", url) as client:

        async def tasks() -> int:
            return len(asyncio.all_tasks())

        async def none_left() -> None:
            while len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0)

        before = client._portal.call(tasks)
        rows = client.iter_porting_events(page_size=4)
        next(rows)
        assert client._listings
        if how == "close":
            rows.close()  # type: ignore[attr-defined]
        del rows
        assert not client._listings
        client._portal.call(none_left)
        asked = client.requests_made
        client._portal.call(none_left)
        assert client.requests_made == asked


def test_a_listing_left_open_ends_with_its_block(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with TelnyxClient("KEY", url) as client:
        rows = client.iter_porting_events(page_size=4)
        next(rows)
    assert own_sockets(url) == 0
    # Not a short list that looks whole.
    with pytest.raises(RuntimeError):
        list(rows)
    assert caplog.records == []


def test_without_a_block_each_call_has_its_own(url: str) -> None:
    client = TelnyxClient("KEY", url)
    assert client.get_porting_event(EVENT).id == EVENT
    assert own_sockets(url) == 0
    assert client.count_porting_events() == 90
    assert client.requests_made == 1


def test_without_a_block_two_listings_may_be_read_side_by_side(url: str) -> None:
    client = TelnyxClient("KEY", url)
    pairs = zip(client.iter_porting_events(page_size=4), client.iter_porting_events(page_size=9), strict=True)
    assert sum(one == other for one, other in pairs) == 90


def test_a_client_can_be_opened_again_but_not_twice(url: str) -> None:
    client = TelnyxClient("KEY", url)
    for _ in range(2):
        with client:
            assert client.count_porting_events() == 90
            with pytest.raises(RuntimeError, match="open already"):
                client.__enter__()


def test_errors_come_through(url: str) -> None:
    with TelnyxClient("KEY", url) as client:
        with pytest.raises(NotFoundError):
            client.get_porting_order("0" * 8 + EVENT[8:])
        with pytest.raises(SettingsError):
            client.get_porting_event("x")
        with pytest.raises(SettingsError):
            list(client.iter_porting_events(page_size=0))


def test_slots_work_from_here(url: str) -> None:
    with TelnyxClient("KEY", url, max_concurrency=1) as client:
        client.reserve_slot()
        client.republish_porting_event(EVENT, slot=client.reserve_slot())
        client.republish_porting_event(EVENT)


def test_nothing_listens_there() -> None:
    """A real refused connection; the pauses between tries are not waited for."""

    async def now(self: object, seconds: float) -> None:
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("telnyx_porting.client.pacer.Clock.sleep", now)
        with TelnyxClient("KEY", "http://127.0.0.1:9/v2") as client, pytest.raises(ConnectError) as caught:
            client.count_porting_events()
    assert caught.value.not_processed


def test_both_faces_have_the_same_verbs() -> None:
    """Names, parameters and defaults; what differs is said here."""
    wider = {"event_batches", "order_batches", "delivery_batches", "aclose"}
    verbs = {name for name, member in inspect.getmembers(AsyncTelnyxClient) if not name.startswith("_")} - wider
    assert verbs <= {name for name in dir(TelnyxClient) if not name.startswith("_")}
    for name in verbs:
        ours, theirs = getattr(TelnyxClient, name), getattr(AsyncTelnyxClient, name)
        if inspect.isfunction(ours):
            mine = {p.name: (p.kind, p.default) for p in inspect.signature(ours).parameters.values()}
            other = {p.name: (p.kind, p.default) for p in inspect.signature(theirs).parameters.values()}
            assert mine == other, name
    made = [inspect.signature(face).parameters for face in (TelnyxClient, AsyncTelnyxClient)]
    assert {n: p.default for n, p in made[0].items()} == {n: p.default for n, p in made[1].items()}
