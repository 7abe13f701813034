"""The targets of a benchmark, and what was measured."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field


@dataclass
class Table:
    """Targets and what was measured."""

    missed: list[str] = field(default_factory=list)

    def line(self, what: str, measured: float, sign: str, wanted: float, detail: str) -> None:
        good = measured >= wanted if sign == ">=" else measured <= wanted
        if not good:
            self.missed.append(what)
        mark = "ok  " if good else "MISS"
        sys.stdout.write(f"{mark} {what:<58} {measured:>8.2f} {sign} {wanted:<6g} {detail}\n")
        sys.stdout.flush()
