"""Every point that Telnyx leaves open, both ways: the same verdicts, or an honest unknown; never a false one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.scenarios.loop import MINUTE, Loop
from tests.scenarios.outages import rows
from tests.scenarios.story import Story, got

if TYPE_CHECKING:
    from collections.abc import Callable


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


def subscribed_twice(**positions: Any) -> Callable[[Loop], str]:
    """Two subscriptions to our one URL: more webhooks than numbers, so that counting them proves no split."""

    def play(loop: Loop) -> str:
        loop.sandbox.switches(**positions)
        loop.begin(loop.ear.url)
        whole, texting = loop.sandbox.order(status="submitted", numbers=4), loop.sandbox.order(status="ported")
        (split, *_) = loop.sandbox.act(whole, "split", numbers=3, complete_after=0)
        (change,) = loop.sandbox.act(texting, "messaging", value="activating", complete_after=0)
        for _ in range(2):
            loop.jump(40 * MINUTE)
            loop.cycle()
        states = loop.states()
        return f"{got(loop)}; the split is {states[split['id']]}, the messaging change {states[change['id']]}"

    return play


def pulled(**positions: Any) -> Callable[[Loop], str]:
    """The provider's own records decide; the consumer is one of two destinations."""

    def play(loop: Loop) -> str:
        loop.sandbox.switches(**positions)
        loop.use(consumer_of_record=f"deliveries:{loop.ear.url}")
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


def _switch(play: Any, expected: str, *samples: str, **positions: str) -> list[Story]:
    """A story per switch, in a position that is not its default."""
    return [
        Story(f"{name}={position}", play(**{name: position}), expected, sample=name in samples)
        for name, position in positions.items()
    ]


MIXED = "5 sends, 4 arrived, 1 unknown"  # the split: its webhooks all carry the event's own id
CLEAR = "5 sends, 5 arrived"  # the split's webhooks can be told apart
STORIES = [
    Story("all kinds of events", everything(), MIXED, sample=True),
    *_switch(
        everything,
        MIXED,
        webhook_shape="raw",
        webhook_times="coarse",
        republish_occurred_at="now",
        republish_attempt="continues",
        republish_delivery="appended",
        republish_touches_event="yes",
        deliveries_cover="no_port_ins",
        delivery_listed="from_first_try",
        delivery_errors="objects",
        delivery_shape="drifted",
        delivery_order="started_at",
        split_webhooks="one",
        completion="at_once",
        error_body="empty",
        event_order="-created_at",
    ),
    *_switch(everything, CLEAR, "webhook_id", webhook_id="unrelated", republish_webhook_id="new"),
    *_switch(everything, "6 sends, 6 arrived", split_events="per_number"),
    *[
        Story(f"webhook_id=unrelated, {name}={position}", everything(webhook_id="unrelated", **{name: position}), CLEAR)
        for name, position in {
            "webhook_shape": "raw",
            "webhook_times": "coarse",
            "republish_webhook_id": "new",
            "republish_occurred_at": "now",
        }.items()
    ],
    Story("webhook_id=unrelated, split_webhooks=one", everything(webhook_id="unrelated", split_webhooks="one"), MIXED),
    Story(
        "webhook_id=unrelated, split_events=per_number",
        everything(webhook_id="unrelated", split_events="per_number"),
        "5 sends, 4 arrived, 1 unknown, 1 dropped",
    ),
    Story(
        "unrelated ids, all of it new and coarse on republish",
        everything(
            webhook_id="unrelated", republish_webhook_id="new", republish_occurred_at="now", webhook_times="coarse"
        ),
        CLEAR,
    ),
    Story(
        "subscribed twice, webhooks with ids of their own",
        subscribed_twice(webhook_id="unrelated", channel_webhook_id="own"),
        "0 sends; the split is undetermined, the messaging change arrived",
    ),
    Story(
        "subscribed twice, webhooks with shared ids",
        subscribed_twice(webhook_id="unrelated"),
        "0 sends; the split is arrived, the messaging change arrived",
    ),
    *_switch(unfinished, "0 sends", republish_unfinished="refused"),
    *_switch(unsubscribed, "1 sends, 1 not arrived, 4 dropped; budget spent: 0", republish_unsubscribed="accepted"),
    *_switch(unsubscribed, "3 sends, 5 dropped; budget spent: 0", republish_unsubscribed="refused"),
    *_switch(own_url, "0 sends", order_url="with_channels", republish_order_url="ignored"),
    *_switch(own_url, "0 sends", "order_url", order_url="instead_of_channels"),
    Story("the provider's records decide", pulled(), rows(6), sample=True),
    *[
        Story(f"the provider's records decide, {name}={position}", pulled(**{name: position}), rows(6))
        for name, position in (
            ("webhook_id", "unrelated"),
            ("republish_webhook_id", "new"),
            ("republish_delivery", "appended"),
            ("republish_delivery", "appended_unmoved"),
            ("delivery_listed", "from_first_try"),
            ("delivery_shape", "drifted"),
            ("delivery_errors", "objects"),
            ("delivery_order", "started_at"),
            ("webhook_times", "coarse"),
            ("list_meta", "no_totals"),
        )
    ],
    Story("the provider's records decide, but list no port-ins", pulled(deliveries_cover="no_port_ins"), "0 sends"),
]
