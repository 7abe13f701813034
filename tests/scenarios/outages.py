"""Scenarios without a doubtful point: the receiver is down, silent, half there, or nothing is wrong at all."""

from __future__ import annotations

from datetime import timedelta

from telnyx_porting.flows.republish.advance import Halted
from telnyx_porting.flows.republish.selection import Asked
from tests.scenarios.loop import MINUTE, Loop
from tests.scenarios.story import Story, got


def down(loop: Loop, count: int) -> list[str]:
    """The receiver is down for ten minutes while things happen."""
    loop.ear.up = False
    lost = loop.events(count)
    loop.jump(10 * MINUTE)
    loop.ear.up = True
    loop.ear.beat()
    return lost


def outage(count: int):
    def play(loop: Loop) -> str:
        loop.begin()
        lost = down(loop, count)
        loop.jump(20 * MINUTE)
        loop.cycle()
        loop.jump(60 * MINUTE)
        loop.cycle()
        only = set(loop.asked()) - set(lost)
        return got(loop) + (f"; {len(only)} others were sent" if only else "")

    return play


def never_delivered(loop: Loop) -> str:
    """Telnyx accepts every republish and sends nothing."""
    loop.begin()
    lost = down(loop, 15)
    loop.sandbox.control("POST", "/undeliverable", {"event_ids": lost})
    loop.jump(20 * MINUTE)
    end = loop.cycle()
    told = "halted" if isinstance(end, Halted) else "not halted"
    return f"{got(loop)}; {told}; budget spent: {loop.budget_spent()}"


def one_never_delivered(loop: Loop) -> str:
    """One of many is accepted and never sent, whatever is done."""
    loop.begin()
    lost = down(loop, 15)
    loop.sandbox.control("POST", "/undeliverable", {"event_ids": lost[5:6]})
    for _ in range(6):
        loop.jump(25 * 60 * MINUTE)
        loop.events(2)
        loop.jump(20 * MINUTE)
        loop.cycle()
    return f"{got(loop)}; it is {loop.states()[lost[5]]}"


def still_down(loop: Loop) -> str:
    """The process is alive, but what Telnyx sends does not reach it."""
    loop.begin()
    loop.events(30)
    loop.jump(30 * MINUTE)
    loop.look()
    loop.ear.reachable = False
    loop.events(15)
    loop.jump(20 * MINUTE)
    loop.cycle()
    return f"{got(loop)}; budget spent: {loop.budget_spent()}"


def silent(loop: Loop) -> str:
    """The receiver is dead."""
    loop.begin()
    loop.ear.up = False
    loop.events(15)
    loop.jump(20 * MINUTE)
    loop.cycle()
    missed = sum(state == "missed" for state in loop.states().values())
    return f"{got(loop)}; {missed} missed"


def first_try_running(loop: Loop) -> str:
    """The first try takes its time; it arrives before the window ends."""
    loop.begin()
    loop.sandbox.fault("webhook_late", seconds=0.5)
    for order in loop.orders(5):
        loop.sandbox.act(order, "comment", complete_after=0)
    for _ in range(3):
        loop.scan()
        loop.cycle()
    loop.jump(20 * MINUTE)
    loop.cycle()
    return got(loop)


def stuck_then_completing(loop: Loop) -> str:
    """Without payload for five hours; then it completes, and its first webhook arrives."""
    order = loop.begin()
    (event,) = loop.sandbox.act(order, "comment", never_completes=True)
    for _ in range(5):
        loop.jump(60 * MINUTE)
        loop.cycle()
    loop.sandbox.complete(event["id"])
    loop.scan()
    loop.cycle()
    loop.jump(20 * MINUTE)
    loop.cycle()
    return f"{got(loop)}; it is {loop.states()[event['id']]}"


def still_created(loop: Loop) -> str:
    """Events whose payload is never generated are not missed."""
    loop.begin()
    for order in loop.orders(5):
        loop.sandbox.act(order, "comment", never_completes=True)
    loop.jump(26 * 60 * MINUTE)
    loop.cycle()
    return got(loop)


def first_run(count: int):
    def play(loop: Loop) -> str:
        """A history of many events, none of which we ever heard."""
        loop.sandbox.reset("volume", seed=3, events=count)
        loop.sandbox.subscribe(loop.ear.url)
        loop.ear.learn(loop.sandbox.public_key)
        loop.ear.beat()
        loop.look()
        loop.events(3)
        loop.jump(30 * MINUTE)
        loop.cycle()
        held = len(loop.states())
        return f"{got(loop)}; {'all' if held >= count else held} held"

    return play


def two_channels(loop: Loop) -> str:
    """Two channels, ours is down: resent once, and the other is named as getting a duplicate."""
    other = loop.sandbox.sink_url()
    loop.begin(other)
    down(loop, 3)
    loop.jump(20 * MINUTE)
    loop.look()
    plan = loop.plan()
    if plan is None:
        return "no plan"
    named = "/sink/200 (will get it twice)" in plan.words and "telnyx_default (missed it)" in plan.words
    loop.execute(plan)
    return f"{got(loop)}; {'both named' if named else plan.words}"


def superseded(loop: Loop) -> str:
    """The order has moved on since: what was missed is history."""
    loop.begin()
    orders = [loop.sandbox.order(status="submitted") for _ in range(2)]
    loop.ear.up = False
    for order in orders:
        loop.sandbox.act(order, "status", value="exception", codes=["OTHER"], complete_after=0)
    loop.jump(5 * MINUTE)
    loop.ear.up = True
    loop.ear.beat()
    loop.sandbox.act(orders[0], "status", value="submitted", complete_after=0)
    loop.jump(20 * MINUTE)
    loop.cycle()
    return got(loop)


def deleted(loop: Loop) -> str:
    """A deletion is never sent by itself."""
    loop.begin()
    draft = loop.sandbox.order()
    loop.ear.up = False
    loop.sandbox.act(draft, "delete", force=True, complete_after=0)
    loop.jump(5 * MINUTE)
    loop.ear.up = True
    loop.jump(20 * MINUTE)
    loop.cycle()
    return got(loop)


def unclear_consumer(loop: Loop) -> str:
    """Nothing of ours listens, two others do, and nobody said which of them counts."""
    loop.sandbox.subscribe(loop.sandbox.sink_url(), loop.sandbox.sink_url(503))
    loop.look()
    loop.events(5)
    loop.jump(30 * MINUTE)
    loop.cycle()
    loop.jump(120 * MINUTE)
    told = loop.look().undecided or "nothing"
    return f"{got(loop)}; told: {'set consumer_of_record' if 'set consumer_of_record' in told else told}"


def no_consumer(loop: Loop) -> str:
    """A person republishes where nothing can confirm it."""
    loop.look()
    (event,) = loop.events(1)
    loop.jump(30 * MINUTE)
    loop.look()
    plan = loop.plan(Asked([event], ["pending"]))
    if plan is None:
        return "no plan"
    loop.execute(plan, by="ann")
    return f"{got(loop)}; {'said before' if 'cannot be confirmed' in plan.words else plan.words}"


def mailed(loop: Loop) -> str:
    """People are mailed at each republish: one try, and a person is asked."""
    loop.begin(emails=("desk@example.com",))
    lost = down(loop, 2)
    loop.sandbox.control("POST", "/undeliverable", {"event_ids": lost})
    loop.jump(20 * MINUTE)
    asked = "asked" if loop.cycle() is None else "not asked"
    plan = loop.plan()
    if plan is None:
        return "no plan"
    words = plan.words
    loop.execute(plan, by="ann")
    for _ in range(4):
        loop.jump(26 * 60 * MINUTE)
        loop.look()
        if (again := loop.plan()) is not None:
            loop.execute(again, by="ann")
    return f"{got(loop)}; {asked}; {'1 mail address (2 mails)' if '1 mail address (2 mails)' in words else words}"


def rows(n: int) -> str:
    return f"{n} sends, {n} arrived"


HISTORY = {"first_look_days": 3_650}
STORIES = [
    Story("receiver down 10 min under 100 events", outage(100), rows(100), sample=True),
    Story("receiver down 10 min under 1,000 events", outage(1_000), rows(1_000)),
    Story(
        "accepted and never delivered",
        never_delivered,
        "1 sends, 1 not arrived, 14 dropped; halted; budget spent: 0",
        sample=True,
    ),
    Story(
        "one of 15 accepted and never delivered",
        one_never_delivered,
        "17 sends, 3 at most per event, 14 arrived, 3 not arrived; it is given_up",
        {"republish_max_age": timedelta(days=30)},
    ),
    Story(
        "receiver alive but not reached", still_down, "1 sends, 1 not arrived, 14 dropped; budget spent: 0", sample=True
    ),
    Story("receiver dead", silent, "0 sends; 15 missed", sample=True),
    Story("first try still running", first_try_running, "0 sends"),
    Story("stuck 5 h, then completing", stuck_then_completing, "0 sends; it is arrived"),
    Story("payload never generated", still_created, "0 sends"),
    Story("first run against 1,000 old events", first_run(1_000), "0 sends; all held", HISTORY),
    Story("first run against 10,000 old events", first_run(10_000), "0 sends; all held", HISTORY),
    Story("two channels, ours down", two_channels, f"{rows(3)}; both named", sample=True),
    Story("order has moved on", superseded, rows(1), sample=True),
    Story("deletion missed", deleted, "0 sends"),
    Story("nobody said which consumer counts", unclear_consumer, "0 sends; told: set consumer_of_record"),
    Story("manual republish, nothing to confirm it", no_consumer, "1 sends, 1 unknown; said before"),
    Story("mail is subscribed", mailed, "2 sends, 2 not arrived, 1 dropped; asked; 1 mail address (2 mails)"),
]
