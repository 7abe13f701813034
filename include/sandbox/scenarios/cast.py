"""The orders of the demo's history, by the part they play later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.sandbox.world.model import Order


@dataclass(slots=True)
class Cast:
    """The orders of the history by the part they play."""

    roles: dict[str, list[Order]] = field(default_factory=dict)

    def take(self, role: str) -> Order:
        """Give an order nobody has taken yet."""
        return self.roles[role].pop(0)
