"""Scenarios of clocks that are wrong: within what a clock may be off nothing changes, beyond it nothing is sent."""

from __future__ import annotations

import re

from telnyx_porting.flows.republish.advance import Halted
from tests.scenarios.loop import MINUTE, Loop
from tests.scenarios.outages import down, rows
from tests.scenarios.story import Story, got


def clock_far_off(provider: float = 0.0, receiver: float = 0.0):
    """A clock goes wrong just after a scan, when a plan has been approved: nothing is sent, and the next scan tells."""

    def play(loop: Loop) -> str:
        loop.begin()
        down(loop, 3)
        loop.jump(20 * MINUTE)
        loop.look()
        plan = loop.plan()
        assert plan is not None
        loop.skew(provider=provider, receiver=receiver)
        if receiver:
            loop.events(1)  # its webhook is refused
        end = loop.execute(plan)
        loop.jump(loop.settings.scan_every.total_seconds())
        loop.look()
        told = re.sub(r"\b(39[89]|40[12]) s\b", "400 s", loop.told("clock_skew") or "nothing").split(":")[0]
        again = "" if loop.plan() is None else "; a plan"
        stopped = "; stopped for it" if isinstance(end, Halted) and "'s clock is " in end.reason else ""
        return f"{got(loop)}{stopped}{again}; told: {told}"

    return play


def clocks_off(provider: float, receiver: float):
    def play(loop: Loop) -> str:
        loop.begin()
        loop.skew(provider=provider, receiver=receiver)
        loop.look()
        down(loop, 5)
        loop.jump(25 * MINUTE)
        loop.look()
        loop.cycle()
        return got(loop)

    return play


STOPPED = "0 sends, 3 dropped; stopped for it; told:"
STORIES = [
    Story(
        "provider 400 s ahead",
        clock_far_off(400),
        f"{STOPPED} this machine's clock is 400 s behind Telnyx's",
        sample=True,
    ),
    Story("provider 400 s behind", clock_far_off(-400), f"{STOPPED} this machine's clock is 400 s ahead of Telnyx's"),
    Story(
        "our clock 400 s behind", clock_far_off(400, 400), f"{STOPPED} this machine's clock is 400 s behind Telnyx's"
    ),
    Story(
        "our clock 400 s ahead", clock_far_off(-400, -400), f"{STOPPED} this machine's clock is 400 s ahead of Telnyx's"
    ),
    Story(
        "receiver 400 s behind",
        clock_far_off(0, -400),
        f"{STOPPED} the receiver's clock is 400 s behind Telnyx's",
        sample=True,
    ),
    Story("receiver 400 s ahead", clock_far_off(0, 400), f"{STOPPED} the receiver's clock is 400 s ahead of Telnyx's"),
    Story("provider 240 s ahead", clocks_off(240, 0), rows(5), sample=True),
    Story("provider 240 s behind", clocks_off(-240, 0), rows(5)),
    Story("receiver 200 s ahead", clocks_off(0, 200), rows(5)),
    Story("receiver 100 s behind", clocks_off(0, -100), rows(5)),
]
