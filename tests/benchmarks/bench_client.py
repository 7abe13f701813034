"""
How fast is the client, against the official SDK and against what the wire allows?

``python -m tests.benchmarks.bench_client [--quick]`` prints a table of targets. Everything runs against a loopback
server in a process of its own. *SDK* is Telnyx's Python SDK, paging by itself. *The wire* sends the very requests our
client sent, at the same concurrency over the same kind of connections, and decodes them with orjson, no more.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import orjson
import pytest

from telnyx_porting.client import AsyncTelnyxClient, TelnyxClient
from tests.support.events_server import START, STEP
from tests.support.targets import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

PAGE = 250


@contextmanager
def server(events: int, latency_ms: float = 0, limit: int = 0) -> Iterator[str]:
    """Run the provider in a process of its own; yields its base URL."""
    command = [sys.executable, "-m", "tests.support.events_server", str(events), str(latency_ms), str(limit)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v2"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Recorder(httpx.AsyncBaseTransport):
    """Notes what is asked for."""

    def __init__(self) -> None:
        self.inner = httpx.AsyncHTTPTransport()
        self.urls: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(str(request.url))
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


def until(events: int) -> datetime:
    return START + STEP * events


async def ours(url: str, events: int, concurrency: int) -> float:
    async with AsyncTelnyxClient("KEY", url, max_concurrency=concurrency) as client:
        # Connections are made before the clock runs, as the SDK's is by its first page.
        await asyncio.gather(*(client.count_porting_events() for _ in range(concurrency)))
        started, count = time.perf_counter(), 0
        async for _ in client.iter_porting_events(START, until(events)):
            count += 1
        assert count == events
        return time.perf_counter() - started


def ours_blocking(url: str, events: int) -> float:
    with TelnyxClient("KEY", url) as client:
        client.count_porting_events()
        started = time.perf_counter()
        assert sum(1 for _ in client.iter_porting_events(START, until(events))) == events
        return time.perf_counter() - started


def sdk(url: str, events: int) -> float:
    import telnyx

    with telnyx.Telnyx(api_key="KEY", base_url=url) as client:
        client.porting.events.list(page_size=1)
        started = time.perf_counter()
        assert sum(1 for _ in client.porting.events.list(page_size=PAGE)) == events
        return time.perf_counter() - started


async def requests_of(url: str, events: int, concurrency: int) -> list[str]:
    recorder = Recorder()
    async with AsyncTelnyxClient("KEY", url, max_concurrency=concurrency, transport=recorder) as client:
        async for _ in client.iter_porting_events(START, until(events)):
            pass
    return recorder.urls


async def raw(url: str, urls: list[str], concurrency: int) -> float:
    free, transport = asyncio.Semaphore(concurrency), httpx.AsyncHTTPTransport()
    headers = [("host", httpx.URL(url).netloc.decode()), ("authorization", "Bearer KEY")]

    async def get(target: str) -> None:
        async with free:
            response = await transport.handle_async_request(httpx.Request("GET", target, headers=headers))
            body = await response.aread()
            await response.aclose()
        orjson.loads(body)

    one = f"{url}/porting/events?page%5Bsize%5D=1&page%5Bnumber%5D=1"
    await asyncio.gather(*(get(one) for _ in range(concurrency)))
    started = time.perf_counter()
    await asyncio.gather(*(get(target) for target in urls))
    seconds = time.perf_counter() - started
    await transport.aclose()
    return seconds


async def latency_of_a_page(url: str) -> float:
    """Measure what one full page takes by itself."""
    urls = [f"{url}/porting/events?page%5Bsize%5D=250&page%5Bnumber%5D={number}" for number in range(1, 21)]
    return statistics.median([await raw(url, [target], 1) for target in urls])


def best(seconds: list[float]) -> float:
    """Take the least disturbed run."""
    return min(seconds)


def timed(run: Callable[[], float]) -> tuple[float, float]:
    """Run it; returns the seconds it says and the CPU seconds of this process."""
    before = time.process_time()
    seconds = run()
    return seconds, time.process_time() - before


def best_of(rounds: int, run: Callable[[], float]) -> tuple[float, float]:
    """Take the least of each."""
    runs = [timed(run) for _ in range(rounds)]
    return min(seconds for seconds, _ in runs), min(cpu for _, cpu in runs)


@contextmanager
def patient_collector() -> Iterator[None]:
    """As the list operator has it, in its task's process."""
    usual = gc.get_threshold()
    gc.set_threshold(100_000, *usual[1:])
    yield
    gc.set_threshold(*usual)


def listing(table: Table, events: int, rounds: int) -> None:
    pages = events / PAGE
    with server(events) as url:
        theirs, sdk_cpu = timed(lambda: sdk(url, events))
        plain, plain_cpu = best_of(rounds, lambda: asyncio.run(ours(url, events, 8)))
        with patient_collector():
            mine, cpu = best_of(rounds, lambda: asyncio.run(ours(url, events, 8)))
            blocking = best([ours_blocking(url, events) for _ in range(rounds)])
            urls = asyncio.run(requests_of(url, events, 8))
            limit, wire_cpu = best_of(rounds, lambda: asyncio.run(raw(url, urls, 8)))
    slower = max(mine, blocking)
    rates = f"SDK {events / theirs:,.0f}/s, ours {events / mine:,.0f}/s, blocking {events / blocking:,.0f}/s"
    table.line(f"list {events:,}, no latency: times the SDK", theirs / slower, ">=", 7, rates)
    sys.stdout.write(f"       with the usual garbage collector: {theirs / plain:.1f} times the SDK\n")
    table.line(
        "  share of the wire without validation",
        limit / mine,
        ">=",
        0.5,
        f"{events / limit:,.0f}/s, {len(urls)} requests",
    )
    micros = [
        f"{name} {seconds / events * 1e6:.1f}"
        for name, seconds in (("SDK", sdk_cpu), ("ours", cpu), ("wire", wire_cpu))
    ]
    sys.stdout.write(
        f"     CPU per event, us: {', '.join(micros)}; ours a page, ms: {cpu / pages * 1e3:.2f}"
        f" (with the usual garbage collector {plain_cpu / pages * 1e3:.2f})\n"
    )
    at_length(table, events, rounds)


def at_length(table: Table, events: int, rounds: int) -> None:
    """List with 50 ms a page."""
    pages = events / PAGE
    with server(events, 50) as url:
        latency = asyncio.run(latency_of_a_page(url))
        theirs = sdk(url, events)
        for concurrency in (4, 8, 16):
            usual = best([asyncio.run(ours(url, events, concurrency)) for _ in range(rounds)])
            with patient_collector():
                mine = best([asyncio.run(ours(url, events, concurrency)) for _ in range(rounds)])
            if concurrency == 16:
                detail = f"SDK {theirs:.2f} s, ours {mine:.2f} s at 16"
                table.line(f"list {events:,}, 50 ms a page: times the SDK", theirs / mine, ">=", 12, detail)
                urls = asyncio.run(requests_of(url, events, concurrency))
                limit = best([asyncio.run(raw(url, urls, concurrency)) for _ in range(rounds)])
                table.line("  share of the wire without validation", limit / mine, ">=", 0.5, f"{limit:.2f} s")
            ideal = pages / concurrency * latency
            detail = f"{mine:.3f} s (usual collector {usual:.3f}); {pages:.0f} pages of {latency * 1000:.1f} ms"
            if concurrency == 4:
                table.line("  time over pages / 4 x latency", mine / ideal, "<=", 1.25, detail)
            else:
                sys.stdout.write(f"       time over pages / {concurrency} x latency {mine / ideal:.2f}: {detail}\n")


async def republish(url: str, number: int, halve_at: float | None = None) -> tuple[float, int, list[float]]:
    """Republish so many ids; returns seconds, refusals, and when each was accepted."""
    accepted: list[float] = []
    async with AsyncTelnyxClient(f"KEY{time.time_ns()}", url, requests_per_second=50) as client:
        started = time.perf_counter()

        async def one(position: int) -> None:
            await client.republish_porting_event(f"{position:08x}-0000-4000-8000-000000000000")
            accepted.append(time.perf_counter() - started)

        async def halve() -> None:
            await asyncio.sleep(halve_at or 0)
            async with httpx.AsyncClient() as other:
                await other.get(f"{url}/halve")

        changing = [halve()] if halve_at else []
        await asyncio.gather(*(one(position) for position in range(number)), *changing)
    async with httpx.AsyncClient() as other:
        refused = (await other.get(f"{url}/refused")).json()["data"]["refused"]
    return max(accepted), refused, accepted


def pace(table: Table, number: int) -> None:
    with server(1, 50, 50) as url:
        seconds, refused, _ = asyncio.run(republish(url, number))
    table.line(
        f"republish {number:,} at 50/s: share of the limit", number / seconds / 50, ">=", 0.95, f"{seconds:.1f} s"
    )
    table.line("  answers 429, %", 100 * refused / number, "<=", 1, f"{refused}")
    with server(1, 50, 50) as url:
        _, refused, accepted = asyncio.run(republish(url, number // 2, halve_at=4.3))
    later = [at for at in accepted if at > 6.5]
    rate = (len(later) - 1) / (later[-1] - later[0])
    table.line(
        "  limit halved on the way: share of the new limit", rate / 25, ">=", 0.9, f"{refused} answers 429 in all"
    )


def memory(table: Table, many: int) -> None:
    """Compare peaks of whole processes; each lists once."""
    peaks = {}
    for events in (10_000, many):
        with server(events) as url:
            command = [sys.executable, "-m", "tests.benchmarks.bench_client", "--peak", url, str(events)]
            peaks[events] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    detail = f"{peaks[10_000] / 1024:.0f} MB at 10,000, {peaks[many] / 1024:.0f} MB at {many:,}"
    table.line(f"peak memory at {many:,} over 10,000 events", peaks[many] / peaks[10_000], "<=", 1.2, detail)


def peak(url: str, events: int) -> None:
    asyncio.run(ours(url, events, 8))
    # Not ru_maxrss: Linux lets it begin at what the parent had.
    status = Path("/proc/self/status").read_text()
    sys.stdout.write(status.split("VmHWM:")[1].split()[0] + "\n")


def main(quick: bool = False) -> list[str]:
    """Print the table; returns the targets missed."""
    table = Table()
    listing(table, 10_000 if quick else 50_000, 2 if quick else 5)
    pace(table, 500 if quick else 2_000)
    memory(table, 50_000 if quick else 1_000_000)
    return table.missed


@pytest.mark.bench
def test_the_client_meets_its_targets() -> None:
    assert main() == []


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        peak(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(1 if main(quick="--quick" in sys.argv) else 0)
