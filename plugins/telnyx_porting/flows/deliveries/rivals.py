"""Which event a webhook proves, when only time tells several of one order and type apart. Pure: rows in, decisions out.

A comment's id, and a time written with a part of a second, name one event. Everything else has rivals: all events of
the order and type that fit, generated or not, and those not listed yet. So a decision waits until events have been
read well past the webhook; then the nearest event in time is taken if it is near and every rival is clearly farther.
A webhook that says it happened when it was signed may as well be a resend, which may come late: an event that was sent
and has not arrived is a rival however long ago that was. What stays unclear proves nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.ledger.states import Match, PayloadStatus
from telnyx_porting.models.keys import DELETED, MESSAGING_CHANGED, NEW_COMMENT, SPLIT, STATUS_CHANGED
from telnyx_porting.models.reading import parse_time, same_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Row

    from telnyx_porting.settings import Settings

    Webhooks = dict[str, list[Row[Any]]]

APART = timedelta(seconds=60)  # a rival must be this much farther: more than any clock rounds
SKEW = timedelta(minutes=5)  # two clocks may differ this much; more is refused elsewhere
EARLY = timedelta(hours=1)  # signed so long before an event was recorded, a webhook is not its
TIMED = (STATUS_CHANGED, DELETED)  # their payload says when it happened
ALIKE = (SPLIT, MESSAGING_CHANGED)  # theirs does not: only the webhook itself does
SECOND = timedelta(seconds=1)
LENGTH_OF_SECOND = len("2026-10-01T12:00:00")  # how such a key ends

Decision = tuple[str | None, Match | None]  # event id, and how it was found; no match: it waits
WAITS: Decision = (None, None)
NONE: Decision = (None, Match.NONE)
AMBIGUOUS: Decision = (None, Match.AMBIGUOUS)
FAR: Decision = (None, Match.FAR)


@dataclass(frozen=True)
class Reach:
    """How far events are read, and how near a webhook must be."""

    until: datetime | None  # None: nothing is read
    near: timedelta  # from the event's time, or from our send of it; so long a row listed late is waited for
    overlap: timedelta  # what every scan reads again
    now: timedelta = SKEW  # a webhook signed so soon after it says it happened may be a resend

    @classmethod
    def of(cls, settings: Settings, until: datetime | None, lateness: int | None = None) -> Reach:
        """Make it of settings and the feed of events; rows that came late lately are waited for."""
        late = min(timedelta(seconds=lateness or 0), settings.overlap)
        return cls(until, max(2 * settings.grace, late), settings.overlap, min(SKEW, settings.grace))

    def covers(self, moment: datetime, wait: timedelta) -> bool:
        """Whether what happened about then, and was listed so much later, is known."""
        return self.until is not None and self.until >= moment + wait


def assign(
    candidates: Sequence[Row[Any]], rows: Iterable[Row[Any]], reach: Reach, *, counts: bool = True
) -> Iterator[tuple[Row[Any], str | None, Match | None]]:
    """Say for each delivery which event it proves.

    :param candidates: all events of one order and type, with `sent`: when each was sent again, on the provider's clock.
    :param rows: all deliveries of that order and type.
    :param counts: counting webhooks proves something: a notification comes once.
    :return: delivery, event id or None, and how it was decided.
    """
    by_webhook: Webhooks = defaultdict(list)
    for row in rows:
        by_webhook[row.webhook_id or f"{row.source}:{row.source_id}"].append(row)
    one_each = _one_each(candidates, by_webhook, reach) if counts else {}
    told = {name: _Webhook(group, reach) for name, group in by_webhook.items()}
    decided: dict[str, Decision] = {}
    for _ in range(2):  # an event that turns out to have arrived is no rival of later webhooks
        here = Counter(decision[0] for name, decision in decided.items() if told[name].ok)
        arrived = {c.id for c in candidates if c.arrived_at is not None or 0 < c.copies <= here[c.id]}
        for name, webhook in told.items():
            decided[name] = one_each.get(name) or _decide(candidates, webhook, reach, arrived)
    for name, group in sorted(by_webhook.items()):
        for row in group:
            yield row, *decided[name]


class _Webhook:
    """One webhook, as first signed."""

    def __init__(self, group: Sequence[Row[Any]], reach: Reach) -> None:
        self.row = min(group, key=lambda row: (row.signed_at or row.stored_at, row.source_id))
        self.ok = any(row.ok for row in group)
        self.made: datetime = self.row.signed_at or self.row.stored_at
        self.at: datetime = self.row.occurred_at or self.made
        signed = self.row.signed_at
        # It may be a resend that says it happened now: then its time says nothing about its event's.
        self.now = signed is None or self.row.occurred_at is None or abs(signed - self.at) <= reach.now


def _decide(candidates: Sequence[Row[Any]], webhook: _Webhook, reach: Reach, arrived: set[str]) -> Decision:
    begun = [c for c in candidates if c.created_at <= webhook.made + EARLY]
    fitting = [c for c in begun if c.natural_key is not None and _fits(c, webhook.row)]
    if not fitting:
        return NONE
    named = [c for c in fitting if _names(c, webhook.row)]
    if len(named) == 1:
        return named[0].id, Match.KEY
    unknown = [c for c in begun if c.natural_key is None]
    if webhook.row.type in TIMED:
        return _same_second(named or fitting, unknown, webhook, reach)
    return _nearest(named or fitting, unknown, webhook, reach, arrived)


def _fits(candidate: Row[Any], row: Row[Any]) -> bool:
    """Compare keys; where a time is part of them it may have been cut or rounded to the second."""
    if row.type not in TIMED:
        return bool(candidate.natural_key == row.natural_key)
    if candidate.natural_key[:-LENGTH_OF_SECOND] != row.natural_key[:-LENGTH_OF_SECOND]:
        return False
    one, other = parse_time(candidate.natural_at), parse_time(row.natural_at)
    if one is None or other is None:  # a time nobody can mean, such as one of the year 9999: as written, or not at all
        return bool(candidate.natural_key == row.natural_key)
    return abs(one - other) < SECOND


def _names(candidate: Row[Any], row: Row[Any]) -> bool:
    """Tell whether the webhook can be no other event's; a time of whole seconds may be several events'."""
    if row.type == NEW_COMMENT:
        return True
    if row.type not in TIMED or not same_instant(candidate.natural_at, row.natural_at):
        return False
    return all((moment := parse_time(text)) and moment.microsecond for text in (candidate.natural_at, row.natural_at))


def _same_second(fitting: Sequence[Row[Any]], unknown: Sequence[Row[Any]], webhook: _Webhook, reach: Reach) -> Decision:
    at = parse_time(webhook.row.natural_at) or webhook.at
    if not reach.covers(at, reach.near):
        return WAITS
    rivals = [c for c in unknown if abs(c.created_at - at) <= APART]
    return (fitting[0].id, Match.KEY) if len(fitting) == 1 and not rivals else AMBIGUOUS


def _nearest(
    fitting: Sequence[Row[Any]],
    unknown: Sequence[Row[Any]],
    webhook: _Webhook,
    reach: Reach,
    arrived: set[str],
) -> Decision:
    resent = [c for c in fitting if webhook.now and _awaits(c, webhook, reach, arrived)]
    # one that was recorded later explains nothing where a resend does
    begun = [c for c in (*fitting, *unknown) if not resent or c.created_at <= webhook.made + APART]
    gaps = sorted((_gap(c, webhook.at), c.id) for c in begun)
    near = [(gap, event_id) for gap, event_id in gaps if gap <= reach.near]
    sent_near = {c.id for c in resent if any(_after(c, sent, webhook, reach.near) for sent in c.sent)}
    tight = near and near[0][0] <= APART or any(_after(c, sent, webhook, APART) for c in resent for sent in c.sent)
    happened = webhook.made if webhook.now else webhook.at
    if not reach.covers(happened, reach.near if tight else max(reach.near, reach.overlap)):
        return WAITS
    started = {c.id for c in unknown if webhook.now and _may_have_begun(c, webhook, reach)}
    possible = {event_id for _, event_id in near} | {c.id for c in resent} | started
    if not possible or (len(possible) == 1 and not near and not sent_near):
        return FAR
    if len(possible) == 1:
        (only,) = possible
    elif resent or started or len(near) == len(possible) and near[1][0] - near[0][0] < APART:
        return AMBIGUOUS
    else:
        only = near[0][1]
    return (only, Match.KEY) if any(c.id == only for c in fitting) else AMBIGUOUS


def _gap(candidate: Row[Any], at: datetime) -> timedelta:
    """Return how far from the event's time: when it was recorded, or when its payload was there."""
    recorded: timedelta = abs(candidate.created_at - at)
    generated: timedelta = abs(candidate.updated_at - at)
    return min(recorded, generated)


def _awaits(candidate: Row[Any], webhook: _Webhook, reach: Reach, arrived: set[str]) -> bool:
    """Tell whether a resend of the event may come in now: until one has, however late, and a while after that."""
    return any(
        sent <= webhook.made + SKEW and (candidate.id not in arrived or webhook.made <= sent + reach.near)
        for sent in candidate.sent
    )


def _after(candidate: Row[Any], sent: datetime, webhook: _Webhook, within: timedelta) -> bool:
    return sent - SKEW <= webhook.made <= sent + within


def _may_have_begun(candidate: Row[Any], webhook: _Webhook, reach: Reach) -> bool:
    """Tell of an event read without payload whether it may have got one before the webhook was signed."""
    if candidate.payload_status == PayloadStatus.COMPLETED or candidate.created_at > webhook.made + APART:
        return False
    seen = [candidate.reread_at] if candidate.reread_at else []
    if reach.until is not None and candidate.created_at >= reach.until - reach.overlap:
        seen.append(reach.until)
    return not seen or max(seen) < webhook.made + APART


def _one_each(candidates: Sequence[Row[Any]], by_webhook: Webhooks, reach: Reach) -> dict[str, Decision]:
    """Assign splits told as several events: just as many webhooks as promised, before any resend, prove them all."""
    keyed: dict[str, list[Row[Any]]] = defaultdict(list)
    for candidate in candidates:
        keyed[candidate.natural_key or ""].append(candidate)
    unknown = keyed.pop("", [])
    found: dict[str, Decision] = {}
    for key, alike in keyed.items():
        if len(alike) < 2 or unknown or any(c.type != SPLIT or c.sent or not c.copies for c in alike):
            continue
        told = {w: _Webhook(group, reach) for w, group in by_webhook.items() if group[0].natural_key == key}
        good = [w for w in told if told[w].ok]
        near = all(any(_gap(c, told[w].at) <= reach.near for c in alike) for w in good)
        read = all(reach.covers(told[w].made, reach.near) for w in good)
        if near and read and len(good) == sum(c.copies for c in alike):
            wanted = [c.id for c in sorted(alike, key=lambda c: (c.created_at, c.id)) for _ in range(c.copies)]
            in_time = sorted(good, key=lambda w: (told[w].made, w))
            found |= {w: (event_id, Match.KEY) for w, event_id in zip(in_time, wanted, strict=True)}
    return found
