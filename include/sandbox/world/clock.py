"""The world's clock: starts anywhere in the past, runs at any speed or not at all, never passes wall clock."""

from __future__ import annotations

import time

from include.sandbox.world.times import SECOND


class WorldClock:
    """Time in the world, and the provider's wall clock (which may be skewed against ours)."""

    def __init__(self) -> None:
        self.skew_us = 0
        self.frozen = False
        self.speed = 1.0
        self._base_us = self.wall_us()
        self._base_mono = time.monotonic()

    def wall_us(self) -> int:
        """Give the provider's wall clock: ours plus the skew."""
        return time.time_ns() // 1000 + self.skew_us

    def now_us(self) -> int:
        """Give the time in the world."""
        if self.frozen:
            return min(self._base_us, self.wall_us())
        run = (time.monotonic() - self._base_mono) * self.speed * SECOND
        return min(self._base_us + int(run), self.wall_us())

    def set(self, *, now_us: int | None = None, speed: float | None = None, frozen: bool | None = None) -> None:
        """Change the clock; what is not given stays as it is.

        :param now_us: new time in the world; later than wall clock counts as wall clock.
        :param speed: world seconds per second, 0 or more.
        """
        base = self.now_us() if now_us is None else min(now_us, self.wall_us())
        self._base_us = base
        self._base_mono = time.monotonic()
        if speed is not None:
            self.speed = speed
        if frozen is not None:
            self.frozen = frozen

    def set_skew(self, skew_us: int) -> None:
        """Let the provider's clock be wrong; a running world goes with it."""
        now, change = self.now_us(), skew_us - self.skew_us
        self.skew_us = skew_us
        if change:
            self.set(now_us=now if self.frozen else now + change)

    def wall_seconds_until(self, us: int) -> float | None:
        """Give the real seconds until the world reaches a time; None when it never will as things stand."""
        left = us - self.now_us()
        if left <= 0:
            return 0.0
        if self.frozen or self.speed == 0:
            return None
        return max(left / self.speed, us - self.wall_us()) / SECOND
