"""A new account: no orders, no events, nobody subscribed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.sandbox.world.world import World


def build(world: World, events: int) -> None:
    """Leave the world as it is; nothing in it depends on a number of events."""
    world.phase = "empty"
