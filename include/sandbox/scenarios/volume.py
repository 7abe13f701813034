"""Three years of any number of events, computed row by row: starts at once and takes next to no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.sandbox.world.archive import Archive
from include.sandbox.world.times import MINUTE

if TYPE_CHECKING:
    from include.sandbox.world.world import World

_USUAL = 100_000


def build(world: World, events: int) -> None:
    """Put a history behind the world that ends some minutes ago."""
    world.use_archive(Archive(world.ids, events or _USUAL, world.now_us() - 10 * MINUTE))
    world.phase = "volume"
