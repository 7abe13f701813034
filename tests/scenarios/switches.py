"""Every point that Telnyx leaves open, both ways: the same verdicts, or an honest unknown; never a false one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.scenarios.loop import MINUTE, Loop
from tests.scenarios.outages import rows
from tests.scenarios.story import Story, got

ALL_TYPES = "6 sends, 6 arrived"


def everything(**positions: Any) -> Callable[[Loop], str]:
    """One event of each kind that is sent by itself is missed; the switches are turned from the beginning."""

    def play(loop: Loop) -> str:
        loop.sandbox.switches(**positions)
        loop.begin()
        moving, talking = loop.sandbox.order(status="submitted"), loop.sandbox.order(status="submitted")
        texting = loop.sandbox.order(status="ported", messaging_status="pending")
        whole = loop.sandbox.order(status="submitted", numbers=3)
        loop.ear.up = False
        loop.sandbox.act(moving, "status", value="exception", codes=["OTHER"], complete_after=0)
        loop.sandbox.act(talking, "comment", complete_after=0)
        loop.sandbox.act(talking, "comment", complete_after=0)
        loop.sandbox.act(texting, "messaging", value="activating", complete_after=0)
        loop.sandbox.act(whole, "split", numbers=2, complete_after=0)
        loop.jump(10 * MINUTE)
        loop.ear.up = True
        loop.ear.beat()
        loop.jump(20 * MINUTE)
        for _ in range(2):
            loop.cycle()
            loop.jump(60 * MINUTE)
        return got(loop)

    return play


def unfinished(**positions: Any) -> Callable[[Loop], str]:
    def play(loop: Loop) -> str:
        loop.sandbox.switches(**positions)
        order = loop.begin()
        loop.sandbox.act(order, "comment", never_completes=True)
        loop.jump(60 * MINUTE)
        loop.cycle()
        return got(loop)

    return play


def unsubscribed(**positions: Any) -> Callable[[Loop], str]:
    """Nobody is subscribed any more."""

    def play(loop: Loop) -> str:
        loop.sandbox.switches(**positions)
        loop.begin()
        loop.ear.up = False
        loop.events(5)
        loop.jump(10 * MINUTE)
        loop.ear.up = True
        loop.ear.beat()
        loop.sandbox.subscribe()
        loop.jump(20 * MINUTE)
        loop.cycle()
        return f"{got(loop)}; budget spent: {loop.budget_spent()}"

    return play


def own_url(**positions: Any) -> Callable[[Loop], str]:
    """Orders with a URL of their own, which is somebody else's; the account's channel is ours and all is well."""

    def play(loop: Loop) -> str:
        loop.sandbox.switches(**positions)
        loop.begin()
        orders = [loop.sandbox.order(webhook_url=loop.sandbox.sink_url()) for _ in range(4)]
        for order in orders:
            loop.sandbox.act(order, "comment", complete_after=0)
        loop.events(20)
        loop.jump(30 * MINUTE)
        loop.cycle()
        return got(loop)

    return play


def pulled(**positions: Any) -> Callable[[Loop], str]:
    """The provider's own records decide; the consumer is one of two destinations."""

    def play(loop: Loop) -> str:
        loop.sandbox.switches(**positions)
        loop.begin(loop.sandbox.sink_url())
        loop.ear.reachable = False
        loop.events(6)
        loop.jump(10 * MINUTE)
        loop.ear.reachable = True
        loop.jump(20 * MINUTE)
        for _ in range(2):
            loop.cycle()
            loop.jump(60 * MINUTE)
        return got(loop)

    return play


def _switch(name: str, position: str, expected: str = ALL_TYPES, play: Any = everything, **more: Any) -> Story:
    return Story(f"{name}={position}", play(**{name: position}), expected, **more)


PULL = {"consumer_of_record": "deliveries:http://127.0.0.1"}
STORIES = [
    Story("all kinds of events", everything(), "5 sends, 4 arrived, 1 unknown", sample=True),
]
