"""Peers that are slow, silent or many do not take the receiver's place."""

from __future__ import annotations

import resource
import selectors
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from telnyx_porting.web.receiver.guard import BODY_WITHIN, HEAD_LIMIT, HEAD_WITHIN, PER_PEER, UNFINISHED_LIMIT
from tests.support.receivers import (
    ACCOUNT,
    PATH,
    Running,
    Signer,
    encode,
    raw_request,
    read_all,
    read_answer,
    receiver,
    url_of,
    wait_for,
    webhook,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from telnyx_porting.ledger.engine import Ledger

pytestmark = pytest.mark.xdist_group("receiver-slow")
SIGNER = Signer()
SLACK = 2.0  # seconds a busy machine may take longer
HEAD = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n".encode()


@pytest.fixture
def running(file_ledger: Ledger) -> Iterator[Running]:
    with receiver(url_of(file_ledger), [f"{ACCOUNT}={SIGNER.public}"]) as running:
        yield running


def request() -> bytes:
    body = encode(webhook())
    return raw_request(body, SIGNER.headers(body))


def drip(connection: socket.socket, data: bytes, pause: float = 0.25) -> tuple[float, bytes]:
    """Send one byte now and then until the other side has enough; return how long that took, and what it said."""
    begin = time.monotonic()
    with suppress(ConnectionError), selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        for byte in data * 1000:
            if selector.select(pause):
                break
            connection.sendall(bytes([byte]))
    return time.monotonic() - begin, read_all(connection)


def test_headers_and_bodies_have_deadlines_that_a_drip_of_bytes_does_not_move(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(HEAD)
        took, said = drip(connection, b"x-more: x\r\n")
        assert HEAD_WITHIN - 0.5 < took < HEAD_WITHIN + SLACK
        assert said.startswith(b"HTTP/1.1 408 ")
    with running.connect() as connection:
        connection.sendall(HEAD + b"\r\n")
        took, said = drip(connection, b"{")
        assert BODY_WITHIN - 0.5 < took < BODY_WITHIN + SLACK
        assert said.startswith(b"HTTP/1.1 408 ")
    assert running.counter('telnyx_porting_receiver_ended_total{why="slow"}') == 2


def test_a_silent_connection_and_empty_lines_between_requests_end_too(running: Running) -> None:
    with running.connect() as silent, running.connect() as busy:
        busy.sendall(request())
        assert read_answer(busy).startswith(b"HTTP/1.1 200 ")
        took, _ = drip(busy, b"\r\n")
        assert took < HEAD_WITHIN + SLACK
        begin = time.monotonic()
        read_all(silent)
        assert time.monotonic() - begin < SLACK


def test_an_idle_connection_that_has_proved_itself_is_kept(running: Running) -> None:
    """A proxy keeps its connections, and must not find them closed."""
    with running.connect() as connection:
        for pause in (HEAD_WITHIN + 1.0, 0.0):
            connection.sendall(request())
            assert read_answer(connection).startswith(b"HTTP/1.1 200 ")
            with suppress(TimeoutError):
                connection.settimeout(pause or None)
                assert not pause or connection.recv(1)
            connection.settimeout(15)


@pytest.mark.parametrize(
    "data",
    [HEAD + b"x-long: " + b"x" * (HEAD_LIMIT + (300 << 10)), HEAD + b"x: y\r\n" * (HEAD_LIMIT // 2)],
    ids=["one header", "many headers"],
)
def test_endless_headers_are_refused(running: Running, data: bytes) -> None:
    with running.connect() as connection:
        with suppress(ConnectionError):
            connection.sendall(data)
        answer = read_all(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")  # a reset may overtake it
    assert running.counter('telnyx_porting_receiver_ended_total{why="large"}') == 1


def test_the_oldest_unverified_connections_of_a_peer_go_first(running: Running) -> None:
    with ExitStack() as stack:
        proved = stack.enter_context(running.connect())
        proved.sendall(request())
        assert read_answer(proved).startswith(b"HTTP/1.1 200 ")
        crowd = [stack.enter_context(running.connect()) for _ in range(PER_PEER + 20)]
        wait_for(lambda: running.counter('telnyx_porting_receiver_ended_total{why="shed"}') >= 21)
        assert running.counter("telnyx_porting_receiver_connections") <= PER_PEER
        assert read_all(crowd[0]) == b""  # long before its deadline
        proved.sendall(request())
        assert read_answer(proved).startswith(b"HTTP/1.1 200 ")
        newest = crowd[-1]
        newest.sendall(request())
        assert read_answer(newest).startswith(b"HTTP/1.1 200 ")


def crowded(running: Running, sockets: int, seconds: float) -> list[float]:
    """Keep many slow sockets open, of each kind, and send good webhooks meanwhile; return their answers' times."""
    starts = (b"", b"POST ", HEAD, HEAD + b"\r\n", HEAD + b"\r\n{")
    crowd: list[socket.socket] = []
    times = []
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            while len(crowd) < sockets:
                slow = running.connect()
                slow.setblocking(False)
                with suppress(OSError):
                    slow.send(starts[len(crowd) % len(starts)])
                crowd.append(slow)
            data = request()
            begin = time.monotonic()
            with running.connect() as connection:
                connection.sendall(data)
                assert read_answer(connection).startswith(b"HTTP/1.1 200 ")
            times.append(time.monotonic() - begin)
            alive = [slow for slow in crowd if not ended(slow)]
            for slow in set(crowd) - set(alive):
                slow.close()
            crowd = alive
    finally:
        for slow in crowd:
            slow.close()
    return sorted(times)


def ended(connection: socket.socket) -> bool:
    """Whether the receiver has closed it; otherwise one more byte goes out."""
    try:
        if connection.recv(1) == b"":
            return True
    except BlockingIOError:
        pass
    except OSError:
        return True
    with suppress(OSError):
        connection.send(b"a")
    return False


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_good_webhooks_are_answered_while_500_slow_sockets_are_open(running: Running) -> None:
    times = crowded(running, sockets=500, seconds=4)
    assert times[-1] < 1.8, times[-5:]
    assert times[len(times) // 2] < 0.2


@pytest.mark.chaos
@pytest.mark.usefixtures("many_files")
def test_good_webhooks_are_fast_beside_500_slow_sockets_for_a_minute(running: Running) -> None:
    times = crowded(running, sockets=500, seconds=60)
    assert times[int(len(times) * 0.99)] < 0.2, (len(times), times[len(times) // 2], times[-5:])


@pytest.mark.chaos
@pytest.mark.usefixtures("many_files")
def test_unfinished_bodies_do_not_fill_the_memory(running: Running) -> None:
    process = psutil.Process(running.process.pid)
    before = process.memory_info().rss
    most = 0
    part = HEAD.replace(b"100", b"1000000") + b"\r\n" + b"x" * 950_000
    with ExitStack() as stack:
        for _ in range(4 * PER_PEER):
            connection = stack.enter_context(running.connect())
            with suppress(ConnectionError):
                connection.sendall(part)
            most = max(most, process.memory_info().rss)
        assert running.get("/healthz").text == "ok"
    assert most - before < 2.5 * UNFINISHED_LIMIT
    assert running.counter('telnyx_porting_receiver_ended_total{why="large"}') > 0
