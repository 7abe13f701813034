"""
How fast an account may be asked. One pacer per account and process, whatever loops and threads its clients live in.

It learns from what Telnyx says on every answer (``x-ratelimit-limit``, ``-remaining``, ``-reset``: seconds or an
epoch, G-RATE and G-REQ) and on a 429 (``Retry-After``: seconds or a date). It never sleeps itself: it says how long
to wait, and the caller asks again. What it knows is a guess about a window that others may use too, so the last word
is always the next answer's.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from telnyx_porting.client.clock import SYSTEM_CLOCK, Clock, http_date
from telnyx_porting.models.records import RateLimit

if TYPE_CHECKING:
    from collections.abc import Mapping

EPOCH_FROM = 1e9
"""A reset above this is an epoch, below it seconds to wait."""
LONGEST_WINDOW = 31 * 86_400.0
"""Seconds; a reset further away is no reset."""
SHORT_WINDOW = 3.0
"""Seconds. In windows this short a reset in whole seconds says nothing; the limit is read as a rate."""
HEADROOM = 0.98
"""Share of a learned rate that is used: our clock and theirs cut windows differently."""
SLOW_BELOW = 0.2
"""Share of a window's allowance below which requests are spread over the rest of the window."""
CATCH_UP = 0.05
"""Seconds a timer may be late before the time lost is lost for good."""
SHORTEST_WAIT = 0.001
"""Seconds; timers are no finer, and a train catches up."""
FORGIVEN_AFTER = 5.0
"""Seconds without a 429 after which the next one is the first again."""
LONGEST_BLOCK = 3600.0
"""Seconds without an answer after which one is asked for, whatever the last one said."""

_NUMBER = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)(?![0-9])")


def leading_number(text: str | None) -> float | None:
    """Read the number a header starts with; what follows (``40, 40;w=1``) is not ours to understand."""
    match = _NUMBER.match(text) if text else None
    return float(match[1]) if match else None


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """
    Read how long a 429 asks us to wait: ``Retry-After`` first, else the window's reset.

    :param headers: the answer's headers, case-insensitive
    :param now: our clock, seconds since the epoch
    """
    text = headers.get("retry-after")
    seconds = leading_number(text)
    if seconds is not None:
        return seconds
    until = http_date(text)
    if until is not None:
        said_at = http_date(headers.get("date"))
        return max(0.0, until.timestamp() - (said_at.timestamp() if said_at else now))
    return _reset_seconds(headers, now)


def _reset_seconds(headers: Mapping[str, str], now: float) -> float | None:
    reset = leading_number(headers.get("x-ratelimit-reset"))
    if reset is None or reset < EPOCH_FROM:
        return None if reset is None or reset > LONGEST_WINDOW else reset
    if reset > 100 * EPOCH_FROM:
        reset /= 1000
    # An epoch is on their clock. Ours is finer than their Date, but only if the two agree.
    said_at = http_date(headers.get("date"))
    if said_at is not None and abs(said_at.timestamp() - now) > 2:
        now = said_at.timestamp()
    return max(0.0, reset - now) if reset - now < LONGEST_WINDOW else None


@dataclass(slots=True)
class _Train:
    """Departures at a steady interval: a late one is caught up with, an idle time is not."""

    next_at: float = 0.0

    def wait(self, now: float) -> float:
        return self.next_at - now

    def depart(self, now: float, interval: float) -> None:
        on_time = now - self.next_at <= CATCH_UP
        self.next_at = (self.next_at if on_time else now) + interval


@dataclass(frozen=True, slots=True)
class Grant:
    """
    The pacer's answer.

    :param ticket: the request's number when it may go, else 0
    :param wait: else seconds to wait before asking again
    :param by_provider: whether the provider's limit is why, and not the caller's own
    """

    ticket: int = 0
    wait: float = 0.0
    by_provider: bool = False


class Pacer:
    """Grants requests of one account, one at a time. Its ``rate_limit`` is what the last answer said, None before."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.rate_limit: RateLimit | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._fixed: dict[float, _Train] = {}
        self._learned = _Train()
        self._blocked_until = 0.0
        self._refusals = 0
        self._refused_up_to = 0
        self._granted = 0
        self._heard = 0
        self._heard_at = 0.0
        self._limit: float | None = None
        self._remaining: float | None = None
        self._at_start = 0.0
        self._reset_at: float | None = None
        self._period = 0.0

    def ask(self, per_second: float | None, keep_free: float) -> Grant:
        """
        Ask for one request.

        :param per_second: the caller's own fixed ceiling
        :param keep_free: share of the provider's remaining limit never taken (0 to 0.9)
        """
        with self._lock:
            now = self._clock.monotonic()
            if now >= self._heard_at + LONGEST_BLOCK:
                self._remaining = self._reset_at = None
            wait, interval = self._learned_pace(now, keep_free)
            by_provider = max(self._blocked_until - now, min(wait, self._heard_at + LONGEST_BLOCK - now))
            if by_provider > 0:
                return Grant(wait=max(by_provider, SHORTEST_WAIT), by_provider=True)
            if per_second is not None:
                fixed = self._fixed.setdefault(per_second, _Train(now))
                if (wait := fixed.wait(now)) > 0:
                    return Grant(wait=max(wait, SHORTEST_WAIT))
                fixed.depart(now, 1 / per_second)
            self._learned.depart(now, interval)
            self._granted += 1
            return Grant(ticket=self._granted)

    def _learned_pace(self, now: float, keep_free: float) -> tuple[float, float]:
        """Say how long to wait for what the headers said, and how far apart requests should be now."""
        if self._reset_at is not None and now >= self._reset_at:
            self._open_window(now)
        if self._remaining is None or self._reset_at is None:
            return 0.0, 0.0
        left = self._remaining - (self._granted - self._heard)
        if self._limit and self._period <= SHORT_WINDOW:
            if keep_free and left <= keep_free * self._limit:
                return self._reset_at - now, 0.0
            interval = self._period / (self._limit * (1 - keep_free) * HEADROOM)
            return self._learned.wait(now), interval
        kept = min(self._at_start * keep_free, self._at_start - 1)  # of one, no share can be kept
        allowance = self._at_start - kept
        left -= kept
        if left < 1:
            return self._reset_at - now, 0.0
        if left > allowance * SLOW_BELOW:
            return 0.0, 0.0
        return self._learned.wait(now), (self._reset_at - now) / left

    def _open_window(self, now: float) -> None:
        """Assume a fresh window after the reset: the next answer will correct it."""
        if self._limit is None:
            self._remaining = self._reset_at = None
            return
        self._remaining = self._at_start = self._limit
        self._heard = self._granted
        self._reset_at = now + max(self._period, 1.0)

    def heard(self, ticket: int, headers: Mapping[str, str]) -> None:
        """
        Learn from an answer.

        :param ticket: of the request; an answer to an older request than the last one heard is old news
        :param headers: case-insensitive
        """
        limit = leading_number(headers.get("x-ratelimit-limit"))
        if limit is not None and limit < 1:  # this very request was within it
            limit = None
        remaining = leading_number(headers.get("x-ratelimit-remaining"))
        reset = _reset_seconds(headers, self._clock.time())
        with self._lock:
            if ticket < self._heard or remaining is None:
                return
            now = self._clock.monotonic()
            until = None if reset is None else datetime.fromtimestamp(self._clock.time() + reset, UTC)
            self.rate_limit = RateLimit(None if limit is None else int(limit), int(remaining), until)
            self._heard, self._heard_at = ticket, now
            if limit != self._limit:
                self._period = 0.0
            self._limit = limit
            if reset is not None:
                self._period = max(self._period, float(round(reset)), 1.0)
                fresh = self._reset_at is None or now + reset > self._reset_at + self._period / 2
                self._reset_at = now + reset
                if fresh:
                    self._at_start = remaining + 1
            self._remaining = remaining
            self._at_start = max(self._at_start, remaining)

    def refused(self, ticket: int, retry_after: float | None) -> float:
        """
        Note a 429: nobody asks until it is over.

        :param ticket: of the request; requests that were under way together count as one refusal
        :param retry_after: seconds, as the answer says
        :return: seconds until requests may go again
        """
        with self._lock:
            now = self._clock.monotonic()
            if ticket > self._refused_up_to:
                # Calm since the last refusal, or refused again right after it?
                again = now - self._blocked_until < FORGIVEN_AFTER
                self._refusals = self._refusals + 1 if again else 1
                self._refused_up_to = self._granted
            least = min(30.0, 0.1 * 2.0 ** (self._refusals - 1))
            wait = 10 * least if retry_after is None else max(retry_after, least)
            self._blocked_until = max(self._blocked_until, now + min(wait, LONGEST_BLOCK))
            return self._blocked_until - now


_PACERS: dict[tuple[str, str, Clock], Pacer] = {}
_PACERS_LOCK = threading.Lock()


def pacer_for(base_url: str, api_key: str, clock: Clock) -> Pacer:
    """Return this process's pacer of an account; the key itself is not kept."""
    account = (base_url, hashlib.sha256(api_key.encode()).hexdigest(), clock)
    with _PACERS_LOCK:
        return _PACERS.setdefault(account, Pacer(clock))


def _after_fork() -> None:
    # A lock may have been held by a thread that does not exist in the child.
    global _PACERS_LOCK
    _PACERS_LOCK = threading.Lock()
    _PACERS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
