"""The demo's second phase: a busy while with an outage in its middle, then silence.

Everything is put into the agenda when the phase starts, so the same seed gives the same events. Three acts: before,
during and after the outage. In the outage webhooks fail at every try, or are never tried at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from include.sandbox.world import catalog, lifecycle
from include.sandbox.world.model import Fate
from include.sandbox.world.times import DAY, SECOND

if TYPE_CHECKING:
    from include.sandbox.scenarios.cast import Cast
    from include.sandbox.world.model import Event, Order
    from include.sandbox.world.world import World

Happening = Callable[..., Any]

_ACTS = {"before": (0.02, 0.40), "outage": (0.42, 0.64), "after": (0.68, 0.92)}
_ALWAYS = 99
#: Orders that are commented on and otherwise left alone.
_TALKERS = (
    "finished",
    "cancelled",
    "quiet",
    "exception",
    "split",
    "messaging-exception",
    "hidden",
    "resolved",
)


@dataclass(slots=True)
class Play:
    """What is going to happen, by act, in the order of time."""

    world: World
    seconds: float
    chance: random.Random
    acts: dict[str, list[Happening]] = field(default_factory=lambda: {name: [] for name in _ACTS})

    def add(self, act: str, happening: Happening, *args: Any, **emit: Any) -> None:
        """Let something happen in an act."""
        emit.setdefault("complete_after_s", self.chance.uniform(0.2, 0.8))
        self.acts[act].append(partial(happening, self.world, *args, **emit))

    def missed(self, happening: Happening, *args: Any, **emit: Any) -> None:
        """Let something happen in the outage, alternately failing and leaving no trace."""
        turn = len(self.acts["outage"])
        fate = Fate(drop=True) if turn % 2 else Fate(fail=_ALWAYS, error=("503", "no_connection", "timeout")[turn % 3])
        self.add("outage", happening, *args, fate=fate, **emit)


def start(world: World, cast: Cast, webhook_url: str, seconds: float) -> None:
    """Subscribe the URL from now on and set the agenda; the clock stops when all is done and delivered.

    :param seconds: how long the phase takes, apart from the last retries.
    """
    world.clock.set(now_us=world.clock.wall_us(), speed=1.0, frozen=False)
    world.subscribe([webhook_url], [])
    world.phase = "live"
    play = Play(world, seconds, random.Random(f"live-{world.seed}"))
    talkers = [order for role in _TALKERS for order in cast.roles[role]]
    _lives_go_on(play, cast)
    _outage(play, cast, talkers)
    _after(play, cast)
    _small_talk(play, talkers)
    begin = world.now_us()
    for act, happenings in play.acts.items():
        play.chance.shuffle(happenings)
        if act == "outage":
            # neither the first that is missed nor the last, and the only one of its order
            happenings.insert(len(happenings) // 2, partial(_lose_for_good, world, talkers[-1]))
        first, last = (begin + int(seconds * share * SECOND) for share in _ACTS[act])
        for number, happening in enumerate(happenings):
            world.at(first + (last - first) * number // len(happenings), happening)
    world.at(begin + int(seconds * SECOND), partial(_end, world))


def _end(world: World) -> None:
    if world.scheduled:
        world.at(world.now_us() + SECOND // 5, partial(_end, world))
    else:
        world.phase = "ending"


def _lives_go_on(play: Play, cast: Cast) -> None:
    """Before the outage: all is well, whatever it looks like."""
    add, world = play.add, play.world
    for _ in range(2):
        add("before", lifecycle.move, cast.take("in-process"), "submitted")
    add("before", lifecycle.move, cast.take("submitted"), "foc-date-confirmed", fate=Fate(fail=1))
    add("before", lifecycle.move, cast.take("agreed"), "ported", fate=Fate(copies=2))
    add("before", lifecycle.set_messaging, cast.take("ported"), "activating", fate=Fate(fail=2, error="timeout"))
    add("before", lifecycle.split, cast.take("submitted"), 2)
    add("before", lifecycle.loa_updated, cast.roles["quiet"][0], never_completes=True)
    # stuck for hours, then it completes and its first webhook comes through
    for order in cast.roles["stuck-completes"]:
        events = world.timeline.of_order(order.id)
        late = next(e for e in events if e.type == catalog.STATUS_CHANGED and not e.completed)
        play.acts["before"].append(partial(world.complete, late))


def _outage(play: Play, cast: Cast, talkers: list[Order]) -> None:
    """Forty notifications that never arrive, and a few that do in the end."""
    add, missed, move = play.add, play.missed, lifecycle.move
    # the order moves on afterwards: a naive consumer would be thrown back by these
    for role, first, then, codes in (
        ("in-process", "submitted", "foc-date-confirmed", ()),
        ("in-process", "submitted", "exception", ("LSR_PENDING",)),
        ("submitted", "foc-date-confirmed", "ported", ()),
        ("submitted", "foc-date-confirmed", "ported", ()),
        ("agreed", "activation-in-progress", "ported", ()),
    ):
        order = cast.take(role)
        missed(move, order, first)
        add("after", move, order, then, codes)
    order = cast.take("ported")
    missed(lifecycle.set_messaging, order, "activating")
    add("after", lifecycle.set_messaging, order, "ported")
    # still true afterwards
    missed(move, cast.take("submitted"), "exception", ("ENTITY_NAME_MISMATCH", "PORT_TYPE_INCORRECT"))
    missed(move, cast.take("agreed"), "exception", ("FOC_EXPIRED",))
    missed(move, cast.take("agreed"), "ported")
    missed(move, cast.take("agreed"), "cancel-pending")
    missed(move, cast.take("in-process"), "submitted")
    for _ in range(2):
        missed(move, cast.take("submitted"), "foc-date-confirmed", foc_us=play.world.now_us() + 9 * DAY)
    missed(lifecycle.set_messaging, cast.take("ported"), "exception")
    missed(lifecycle.set_messaging, cast.take("ported"), "activating")
    missed(lifecycle.split, cast.take("submitted"), 2)
    for _ in range(2):
        missed(_delete_new_draft)
    for number, order in enumerate(talkers[:-1]):
        missed(lifecycle.comment, order, f"Question {number + 1}: is the number {{{{ ti.xcom_pull() }}}} ours?")
    for order in talkers[:4]:
        add("outage", lifecycle.comment, order, "Just in time.", fate=Fate(fail=2, error="no_connection"))
    add("outage", move, cast.take("submitted"), "foc-date-confirmed", never_completes=True)


def _after(play: Play, cast: Cast) -> None:
    """After the outage: webhooks come through again, some twice, some late, some out of order."""
    add = play.add
    add("after", lifecycle.move, cast.take("resolved"), "submitted")
    add("after", _delete_new_draft)
    add("after", lifecycle.comment, cast.roles["stuck"][0], "Never to be read.", never_completes=True)
    add("after", lifecycle.loa_updated, cast.roles["quiet"][1])
    add("after", lifecycle.token_expired, cast.roles["quiet"][2], never_completes=True)
    # comes into exception before the outage, is out of it after
    brief = cast.take("in-process")
    add("before", lifecycle.move, brief, "exception", ("PASSCODE_PIN_INVALID",))
    add("after", lifecycle.move, brief, "submitted", fate=Fate(delay_s=1.5))


def _small_talk(play: Play, talkers: list[Order]) -> None:
    """Comments that arrive, each in its own way."""
    ways: tuple[dict[str, Any], ...] = (
        {},
        {},
        {"fate": Fate(copies=2)},
        {},
        {"fate": Fate(delay_s=1.0)},
        {"fate": Fate(fail=1)},
        {},
        {"complete_after_s": play.seconds * 0.25},
        {"fate": Fate(copies=3, delay_s=0.5)},
        {},
    )
    for act, count in (("before", 34), ("after", 24)):
        for number in range(count):
            way = dict(ways[number % len(ways)])
            order = talkers[(number * 5) % len(talkers)]
            play.add(act, lifecycle.comment, order, f"Note {number + 1}.", **way)


def _lose_for_good(world: World, order: Order) -> None:
    """Miss a notification whose republish will be accepted and never sent."""
    event = lifecycle.comment(world, order, "Lost for good.", complete_after_s=0.3, fate=Fate(fail=_ALWAYS))
    world.undeliverable.add(event.id)


def _delete_new_draft(world: World, **emit: Any) -> Event:
    order = lifecycle.create_order(world)
    return lifecycle.delete(world, order, **emit)
