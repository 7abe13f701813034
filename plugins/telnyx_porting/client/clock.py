"""Time: the clock a client waits by, and how far Telnyx's is ahead of it."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from telnyx_porting.models.reading import meant

GOOD_TO = timedelta(seconds=2)
"""How well another's clock is read: HTTP dates (RFC 9110, 5.6.7) and signed times have whole seconds, and travel."""


class Clock:
    """Time and waiting; tests pass one of their own."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = Clock()


def http_date(text: str | None) -> datetime | None:
    """Read an HTTP date as UTC; anything else reads as None."""
    if not text:
        return None
    try:
        return meant(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def read_difference(theirs: datetime, ours: datetime) -> timedelta:
    """Return how far another's clock is ahead of ours; zero, where that is no more than the error of reading it."""
    difference = theirs - ours
    return difference if abs(difference) > GOOD_TO else timedelta(0)
