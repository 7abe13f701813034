"""What a scenario is, and what it must show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scenarios.loop import Loop


@dataclass(frozen=True)
class Story:
    """One scenario.

    :param expected: in words; `play` returns the same words when all is well, else what it got instead.
    :param sample: part of `make test`, not only of the full table.
    """

    name: str
    play: Callable[[Loop], str]
    expected: str
    knobs: dict[str, Any] = field(default_factory=dict)
    sample: bool = False


def got(loop: Loop) -> str:
    """Say what came of it: sends per event, republishes by state, and every false verdict."""
    asked = loop.asked()
    most = max(asked.values(), default=0)
    text = [f"{sum(asked.values())} sends" + (f", {most} at most per event" if most > 1 else "")]
    verdicts = loop.verdicts()
    names = ("arrived", "not_arrived", "unknown", "refused", "dropped", "planned")
    text += [f"{verdicts[name]} {name.replace('_', ' ')}" for name in names if verdicts[name]]
    return "; ".join([", ".join(text), *sorted(loop.false_verdicts())[:3]])
