"""So many requests per window; every answer says what is left of it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from include.sandbox.api.errors import ApiError, plain

if TYPE_CHECKING:
    from include.sandbox.world.world import World


class RateLimiter:
    """Fixed windows. ``limit`` 0 = no limit, and then no headers."""

    def __init__(self, world: World, limit: int = 0, window_s: float = 1.0) -> None:
        self.world = world
        self.configure(limit, window_s)

    def configure(self, limit: int, window_s: float) -> None:
        """Set a new limit and begin a new window."""
        self.limit = limit
        self.window_s = window_s
        self._used = 0
        self._ends = 0.0

    def take(self) -> dict[str, str]:
        """Count a request and give the headers of its answer.

        :raises ApiError: 429 when nothing is left of the window.
        """
        if self.limit <= 0:
            return {}
        now = time.monotonic()
        if now >= self._ends:
            self._used, self._ends = 0, now + self.window_s
        if self._used >= self.limit:
            raise self.refusal(self._ends - now)
        self._used += 1
        return self._headers(self.limit - self._used, self._ends - now)

    def refusal(self, seconds: float) -> ApiError:
        """Make the 429 for a window that ends in so many seconds."""
        headers = self._headers(0, seconds)
        if self.world.switches.retry_after == "present":
            headers["retry-after"] = str(math.ceil(seconds))
        return plain(429, "You have made too many requests", headers)

    def _headers(self, left: int, seconds: float) -> dict[str, str]:
        switches = self.world.switches
        if switches.rate_limit_headers == "absent":
            return {}
        reset = math.ceil(seconds)
        if switches.rate_limit_reset == "epoch":
            reset = math.ceil(self.world.clock.wall_us() / 1_000_000 + seconds)
        limit = str(self.limit)
        if switches.rate_limit_form == "structured":
            limit = f"{self.limit}, {self.limit};w={math.ceil(self.window_s)}"
        return {"x-ratelimit-limit": limit, "x-ratelimit-remaining": str(left), "x-ratelimit-reset": str(reset)}
