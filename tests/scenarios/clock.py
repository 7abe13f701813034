"""One clock for us, the receiver and the simulated provider, that a scenario moves on by hours in an instant."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from telnyx_porting.client.pacer import Clock


class Shifted(Clock):
    """Our clock; `seconds` ahead of the real one."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def time(self) -> float:
        return time.time() + self.seconds

    def now(self) -> datetime:
        """The same as an aware time."""
        return datetime.now(UTC) + timedelta(seconds=self.seconds)
