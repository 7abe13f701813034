"""A world in which there is something to see on every page of the console, foreign text that means harm included."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from include.sandbox.scenarios.demo import HOSTILE
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.flows.orders.sync import read_orders, sync_orders
from tests.scenarios.hostile import TEMPLATE
from tests.scenarios.loop import ACCOUNT, MINUTE

if TYPE_CHECKING:
    from telnyx_porting.flows.republish.plan import Plan
    from tests.scenarios.loop import Loop

EVIL = "http://evil.example"
HIDING = "north\u200b\u202ehtuos <b>"  # what reads other than it is written
FOREIGN = (
    *HOSTILE,
    f"{TEMPLATE}<!channel> @here <script src={EVIL}/s></script>![x]({EVIL}/i)[click](javascript:alert(1))",
    f"\"><img src={EVIL}/q onerror=alert(1)>' style='x",
    "--></style></title></textarea><svg onload=alert(1)>",
)


@dataclass
class World:
    """Who plays which part."""

    orders: dict[str, str] = field(default_factory=dict)
    done: Plan | None = None
    waiting: Plan | None = None
    missed: list[str] = field(default_factory=list)


def fill(loop: Loop) -> World:
    """Let it all happen, to the plan that waits for a person."""
    world = World({"first": loop.begin()})
    happen(loop, world)
    look(loop, world)
    _lose(loop, world)
    world.done = loop.plan()
    assert world.done is not None
    loop.execute(world.done, by="somebody")
    world.missed = _lose(loop, world)
    world.waiting = loop.plan()
    return world


def _lose(loop: Loop, world: World) -> list[str]:
    """Notifications that nobody received, found missed; a hostile one among them."""
    loop.ear.reachable = False
    lost = loop.events(3) + loop.comments(world.orders["hostile"], 1, body=FOREIGN[0])
    loop.ear.reachable = True
    loop.jump(20 * MINUTE)
    look(loop, world)
    return lost


def happen(loop: Loop, world: World) -> None:
    """What orders go through, told to the receiver."""
    box = loop.sandbox

    def order(role: str, *statuses: str, **fields: object) -> str:
        made = world.orders[role] = box.order(**{"customer_reference": role.title(), **fields})
        for status in statuses:
            box.act(made, "status", value=status, force=True, complete_after=0)
        return made

    def rejected(made: str, code: str, **more: object) -> None:
        box.act(made, "status", value="exception", codes=[code], force=True, **{"complete_after": 0, **more})

    on_the_way = ("in-process", "submitted")
    rejected(order("rejected", *on_the_way, numbers=5), "ENTITY_NAME_MISMATCH")
    for role, days in (("overdue", -2), ("today", 0), ("next week", 5)):
        agreed = order(role, *on_the_way, numbers=3)
        foc = (loop.clock.now() + timedelta(days=days)).isoformat()
        box.act(agreed, "status", value="foc-date-confirmed", foc=foc, force=True, complete_after=0)
    asked = order("asked", *on_the_way)
    talk = ("The name on the letter is not readable.\nCould you send it again?", "On its way.", "And the last invoice?")
    for user_type, text in zip(("admin", "user", "admin"), talk, strict=True):
        box.act(asked, "comment", body=text, user_type=user_type, complete_after=0)
    order("ported", *on_the_way, "foc-date-confirmed", "ported")
    order("waiting", *on_the_way)
    box.act(order("split", *on_the_way, numbers=6), "split", numbers=2, complete_after=0)
    rejected(order("stuck", *on_the_way), "LOCATION_MISMATCH", complete_after=10**7)
    hostile = order("hostile", customer_reference=FOREIGN[-1], customer_group_reference=HIDING)
    for text in FOREIGN:
        box.act(hostile, "comment", body=text, complete_after=0)
    box.act(hostile, "webhook-url", webhook_url=f"{EVIL}/hook?<script>alert(1)</script>")
    rejected(hostile, FOREIGN[-2])
    box.settle()


def look(loop: Loop, world: World) -> None:
    """What every DAG of the watch does."""
    loop.look()
    account = Account(loop.ledger, ACCOUNT, loop.settings, loop.clock.now)
    sync_orders(account, loop.client)
    read_orders(account, loop.client, list(world.orders.values()))
    reconcile(account, enqueue)
