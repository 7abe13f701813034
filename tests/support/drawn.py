"""Histories of one order, drawn at random: everything that may go wrong, together."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from telnyx_porting.models.keys import MESSAGING_CHANGED, SPLIT, STATUS_CHANGED
from tests.support.histories import Happening, History, Send

minutes = st.floats(0, 240).map(lambda value: round(value, 2))


@st.composite
def histories(draw: Any) -> History:
    kind = draw(st.sampled_from([MESSAGING_CHANGED, MESSAGING_CHANGED, SPLIT, STATUS_CHANGED]))
    parts = draw(st.integers(1, 3)) if kind == SPLIT else 1
    first = draw(minutes)
    times = [first]
    for _ in range(draw(st.integers(0, 2))):
        gap = st.sampled_from([0.001, 0.005, 0.1, 0.9, 1.1, 5, 29, 45, 70, 120])
        times.append(round(times[-1] + draw(gap), 4))
    happenings = [
        Happening(
            at,
            generated_after=draw(st.sampled_from([0.0, 0.05, 0.05, 3.0, 40.0])),
            listed_after=draw(st.sampled_from([0.0, 0.0, 1.0, 10.0, 25.0])),
            lost=tuple(draw(st.booleans()) for _ in range(parts)),
            retried_after=draw(st.sampled_from([None, None, 0.1, 12.0, 20.0])),
        )
        for at in times
    ]
    last = times[-1] + 41
    sends = [
        Send(
            times[0] + draw(st.floats(16, 200).map(lambda value: round(value, 2))),
            draw(st.integers(0, len(times) - 1)),
            draw(st.sampled_from([None, None, 0.02, 8.0, 20.0, 70.0])),
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    looks = draw(st.lists(st.tuples(st.floats(first, last + 120), st.booleans()), max_size=8))
    for moment in [*times, *(send.at for send in sends)]:  # the moments at which it matters
        looks += [
            (moment + off, draw(st.booleans())) for off in draw(st.lists(st.sampled_from([0.1, 4, 17, 31]), max_size=2))
        ]
    shared = draw(st.booleans())
    records = draw(st.sampled_from(["", "after", "while"]))
    return History(
        kind,
        happenings,
        sends,
        looks,
        own_ids=draw(st.sampled_from([False, False, True])) and shared,
        new_ids=draw(st.booleans()),
        says_now=draw(st.booleans()),
        coarse=draw(st.booleans()),
        raw=draw(st.booleans()) and kind == MESSAGING_CHANGED,
        subscriptions=draw(st.sampled_from([1, 1, 2])),
        shared_ids=shared,
        records=records,
        appended=draw(st.booleans()),
        decides=draw(st.sampled_from(["receiver", "deliveries"])) if records else "receiver",
        heard=draw(st.sampled_from([True, True, False])),
    )
