"""One clock for us, the receiver and the simulated provider, that a scenario moves on by hours in an instant."""

from __future__ import annotations

import os
import struct
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from telnyx_porting.client.clock import Clock

if TYPE_CHECKING:
    from pathlib import Path


class Shifted(Clock):
    """Our clock; `seconds` ahead of the real one, in every process that reads the same file.

    :param skew: how far this process's clock is wrong, in seconds.
    """

    def __init__(self, path: Path, skew: float = 0.0) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.skew = skew

    @property
    def seconds(self) -> float:
        held = os.pread(self._file, 8, 0)
        return struct.unpack("d", held)[0] if held else 0.0

    @seconds.setter
    def seconds(self, value: float) -> None:
        os.pwrite(self._file, struct.pack("d", value), 0)

    def time(self) -> float:
        return time.time() + self.seconds + self.skew

    def now(self) -> datetime:
        """The same as an aware time."""
        return datetime.now(UTC) + timedelta(seconds=self.seconds + self.skew)

    def close(self) -> None:
        os.close(self._file)
