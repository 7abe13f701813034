"""The pacer against providers' limits, in a time of our own: no test here sleeps."""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from telnyx_porting.client.clock import Clock, http_date, read_difference
from telnyx_porting.client.pacer import (
    LONGEST_BLOCK,
    Pacer,
    leading_number,
    pacer_for,
    retry_after_seconds,
)

EPOCH = 1_793_611_800.0


class HandClock(Clock):
    """Moved by hand."""

    def __init__(self, now: float = EPOCH + 0.37) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - 1_000_000


@dataclass
class Provider:
    """A limit of so many requests in each window of so many seconds, told in one of the published ways."""

    limit: int
    window: float = 1.0
    reset: str = "seconds"
    retry_after: bool = False
    headers: bool = True
    others: float = 0.0
    change_at: float = math.inf
    change_to: int = 0
    used: dict[int, float] = field(default_factory=dict)

    def answer(self, now: float) -> tuple[int, httpx.Headers]:
        limit = self.limit if now < self.change_at else self.change_to
        window = int(now // self.window)
        elapsed = now - window * self.window
        taken = self.used.get(window, 0) + self.others * elapsed
        status = 200 if taken + 1 <= limit else 429
        if status == 200:
            self.used[window] = self.used.get(window, 0) + 1
        ends = (window + 1) * self.window
        headers = httpx.Headers({"date": format_datetime(datetime.fromtimestamp(now, UTC), usegmt=True)})
        if self.headers:
            headers["x-ratelimit-limit"] = str(limit)
            headers["x-ratelimit-remaining"] = str(max(0, int(limit - taken - 1)))
            left = math.ceil(ends - now) if self.reset == "seconds" else math.ceil(ends)
            headers["x-ratelimit-reset"] = f"{left}" if self.reset != "junk" else f"{math.ceil(ends - now)}, 5;w=1"
        if status == 429 and self.retry_after:
            headers["retry-after"] = str(math.ceil(ends - now))
        return status, headers


@dataclass
class Run:
    seconds: float = 0.0
    refused: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)


def drive(
    provider: Provider,
    requests: int,
    per_second: float | None = None,
    keep_free: float = 0.0,
    lanes: int = 8,
    latency: float = 0.05,
    pacer: Pacer | None = None,
    clock: HandClock | None = None,
) -> Run:
    """Send so many requests over so many lanes; refused ones go again. Timers come a millisecond late."""
    clock = clock or HandClock()
    pacer = pacer or Pacer(clock)
    run, start, waiting, free = Run(), clock.now, requests, lanes
    flying: list[tuple[float, int, float]] = []
    wake = clock.now
    while waiting or flying:
        if waiting and free and clock.now >= wake:
            grant = pacer.ask(per_second, keep_free)
            if grant.ticket:
                waiting, free = waiting - 1, free - 1
                run.sent.append(clock.now)
                heapq.heappush(flying, (clock.now + latency, grant.ticket, clock.now + latency / 2))
            else:
                wake = clock.now + grant.wait + 0.001
            continue
        times = [flying[0][0]] if flying else []
        if waiting and free:
            times.append(wake)
        clock.now = max(clock.now, min(times))
        while flying and flying[0][0] <= clock.now:
            _, ticket, arrived = heapq.heappop(flying)
            status, headers = provider.answer(arrived)
            pacer.heard(ticket, headers)
            free += 1
            if status == 429:
                run.refused.append(arrived)
                pacer.refused(ticket, retry_after_seconds(headers, clock.now))
                waiting += 1
    run.seconds = clock.now - start
    return run


@pytest.mark.parametrize("reset", ["seconds", "epoch", "junk"])
@pytest.mark.parametrize("phase", [0.0, 0.011, 0.37, 0.99])
def test_an_explicit_rate_at_the_limit_keeps_to_it(reset: str, phase: float) -> None:
    run = drive(Provider(50, reset=reset), 2_000, per_second=50, clock=HandClock(EPOCH + phase))
    assert 2_000 / run.seconds >= 0.95 * 50
    assert len(run.refused) <= 20


@pytest.mark.parametrize("retry_after", [True, False])
@pytest.mark.parametrize("reset", ["seconds", "epoch"])
def test_a_limit_halved_on_the_way_is_settled_within_a_window(reset: str, retry_after: bool) -> None:
    provider = Provider(50, reset=reset, retry_after=retry_after, change_at=EPOCH + 10.2, change_to=25)
    run = drive(provider, 1_000, per_second=50)
    assert [at for at in run.refused if at > EPOCH + 12] == []
    assert len(run.refused) <= 10
    later = [at for at in run.sent if at > EPOCH + 12]
    assert len(later) / (later[-1] - later[0]) >= 0.9 * 25


@pytest.mark.parametrize("reset", ["seconds", "epoch"])
@pytest.mark.parametrize(("limit", "window"), [(50, 1.0), (100, 10.0), (300, 60.0)])
def test_without_any_setting_the_headers_are_enough(limit: int, window: float, reset: str) -> None:
    """It slows before the limit instead of running into it, and is not much slower than allowed."""
    requests = limit * 4
    run = drive(Provider(limit, window, reset=reset), requests)
    assert len(run.refused) <= requests * 0.01
    assert run.seconds <= 4 * window * 1.25 + 1


def test_a_short_list_is_not_slowed_by_a_limit_far_away() -> None:
    run = drive(Provider(1_000, 60.0), 200)
    assert run.seconds < 200 * 0.05 / 8 + 0.5


@pytest.mark.parametrize(("limit", "window"), [(50, 1.0), (60, 60.0)])
def test_half_of_the_limit_is_left_to_others(limit: int, window: float) -> None:
    provider = Provider(limit, window)
    run = drive(provider, limit * 3, keep_free=0.5)
    assert run.refused == []
    assert max(provider.used.values()) <= limit / 2 + 1


def test_others_using_the_limit_slow_us_down() -> None:
    """Forty of fifty a second are used by somebody else, who is not refused because of us for long."""
    run = drive(Provider(100, 10.0, others=8.0), 100)
    assert len(run.refused) <= 4


def test_without_headers_a_429_is_waited_for_longer_each_time() -> None:
    clock = HandClock()
    pacer = Pacer(clock)
    waits = []
    for _ in range(6):
        grant = pacer.ask(None, 0.0)
        assert grant.ticket
        waits.append(pacer.refused(grant.ticket, None))
        assert pacer.ask(None, 0.0).by_provider
        clock.now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32]


def test_refusals_of_requests_that_were_under_way_together_count_once() -> None:
    clock = HandClock()
    pacer = Pacer(clock)
    tickets = [pacer.ask(None, 0.0).ticket for _ in range(8)]
    assert {pacer.refused(ticket, None) for ticket in tickets} == {1.0}


def test_it_recovers() -> None:
    clock = HandClock()
    pacer = Pacer(clock)
    pacer.refused(pacer.ask(None, 0.0).ticket, 7.0)
    assert pacer.ask(None, 0.0).wait == pytest.approx(7.0)
    clock.now += 7.0
    assert all(pacer.ask(None, 0.0).ticket for _ in range(100))


def test_an_older_answer_does_not_undo_a_newer_one() -> None:
    clock = HandClock()
    pacer = Pacer(clock)
    first, second = pacer.ask(None, 0.0).ticket, pacer.ask(None, 0.0).ticket
    headers = {"x-ratelimit-limit": "10", "x-ratelimit-reset": "60"}
    pacer.heard(second, {**headers, "x-ratelimit-remaining": "3"})
    pacer.heard(first, {**headers, "x-ratelimit-remaining": "4"})
    assert pacer.rate_limit is not None
    assert pacer.rate_limit.remaining == 3
    assert pacer.rate_limit.reset_at == datetime.fromtimestamp(clock.now + 60, UTC)


@pytest.mark.parametrize("junk", ["", "soon", "-3", "nan", "1e999", "9" * 400, "٣", "1793611800000000"])
@pytest.mark.parametrize("name", ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"])
def test_junk_in_a_header_stops_nobody(name: str, junk: str) -> None:
    clock = HandClock()
    pacer = Pacer(clock)
    good = {"x-ratelimit-limit": "50", "x-ratelimit-remaining": "40", "x-ratelimit-reset": "1"}
    for _ in range(5):
        grant = pacer.ask(None, 0.0)
        assert grant.ticket
        pacer.heard(grant.ticket, good | {name: junk})
        clock.now += 2
        assert pacer.rate_limit is None or pacer.rate_limit.remaining is not None


NONSENSE = ("0", "-1", "0.5", "1", "50", "999999999999999", None)
FAR = ("1", "50", "3600", "86400", "2678399", str(int(EPOCH) + 90_000), None)


@pytest.mark.parametrize("keep_free", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("limit", NONSENSE)
def test_nothing_a_provider_says_stops_us_for_longer_than_an_hour(limit: str | None, keep_free: float) -> None:
    """Said once or again and again; and then, with headers that make sense, it is as fast as ever."""
    for remaining, reset in itertools.product(NONSENSE, FAR):
        said = {"x-ratelimit-limit": limit, "x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset}
        odd = {name: value for name, value in said.items() if value is not None}
        clock = HandClock()
        pacer = Pacer(clock)
        waits = [granted_after(pacer, clock, keep_free, odd) for _ in range(3)]
        good = {"x-ratelimit-limit": "50", "x-ratelimit-remaining": "5", "x-ratelimit-reset": "1"}
        waits.append(granted_after(pacer, clock, keep_free, good))
        assert max(waits) <= (12 * float(reset) if reset in ("1", "50") else LONGEST_BLOCK + 1), odd
        assert sum(granted_after(pacer, clock, keep_free, good) for _ in range(40)) < 60, odd


def granted_after(pacer: Pacer, clock: HandClock, keep_free: float, headers: dict[str, str]) -> float:
    """Wait for one grant as a client does, let it be answered with these headers, and return the seconds waited."""
    waited = 0.0
    for _ in range(10_000):
        grant = pacer.ask(None, keep_free)
        if grant.ticket:
            clock.now += 0.05
            pacer.heard(grant.ticket, headers)
            return waited
        waited += grant.wait
        clock.now += grant.wait
    return math.inf


def test_numbers_and_dates_are_read_from_the_front() -> None:
    assert leading_number("40, 40;w=1") == 40
    assert leading_number(" 0.25") == 0.25
    assert leading_number("x") is leading_number(None) is None
    assert http_date("Sun, 06 Nov 1994 08:49:37 GMT") == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    assert http_date("yesterday") is None


def test_a_retry_after_date_is_read_on_their_clock() -> None:
    """Their clock may be minutes off ours; what counts is the distance."""
    said = datetime.fromtimestamp(EPOCH, UTC) + timedelta(minutes=20)
    headers = httpx.Headers(
        {"date": format_datetime(said, usegmt=True), "retry-after": format_datetime(said + timedelta(seconds=9), True)}
    )
    assert retry_after_seconds(headers, EPOCH) == 9
    assert retry_after_seconds(httpx.Headers({"x-ratelimit-reset": str(int(EPOCH) + 4)}), EPOCH) == 4
    assert retry_after_seconds(httpx.Headers({"retry-after": "2", "x-ratelimit-reset": "50"}), EPOCH) == 2


def test_one_pacer_for_an_account() -> None:
    clock = HandClock()
    mine = pacer_for("https://a.test/v2", "KEY", clock)
    assert pacer_for("https://a.test/v2", "KEY", clock) is mine
    assert pacer_for("https://a.test/v2", "OTHER", clock) is not mine
    assert pacer_for("https://b.test/v2", "KEY", clock) is not mine


@pytest.mark.parametrize(
    ("ahead", "known"), [(0.0, 0.0), (0.5, 0.0), (-0.5, 0.0), (-2.0, 0.0), (2.1, 2.1), (-2.1, -2.1), (240.0, 240.0)]
)
def test_a_difference_within_the_error_of_reading_is_none(ahead: float, known: float) -> None:
    ours = datetime(2026, 10, 1, 12, tzinfo=UTC)
    assert read_difference(ours + timedelta(seconds=ahead), ours) == timedelta(seconds=known)
