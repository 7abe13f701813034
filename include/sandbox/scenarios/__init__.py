"""Worlds to begin with, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.sandbox.scenarios import demo, empty, volume
from include.sandbox.world.world import World

if TYPE_CHECKING:
    from collections.abc import Callable


SCENARIOS: dict[str, Callable[[World, int], None]] = {
    "demo": demo.build,
    "empty": empty.build,
    "volume": volume.build,
}


def build(name: str, seed: int, events: int) -> World:
    """Make a world.

    :param events: number of events, for the scenarios that can have any number.
    :raises ValueError: when there is no such scenario.
    """
    if name not in SCENARIOS:
        raise ValueError(f"there is no scenario {name!r}; there are {', '.join(sorted(SCENARIOS))}")
    world = World(seed)
    SCENARIOS[name](world, events)
    return world
