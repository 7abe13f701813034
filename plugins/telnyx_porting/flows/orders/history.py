"""What the history of an order says about it now: its status, since when, and which exception this is.

Statuses have no rank: an order may go back from any status to any other, so only time decides, and the whole (short)
history of an order is folded again whenever something about it is new. So it does not matter in which order events,
late events and readings of the order itself come in, nor how often.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from telnyx_porting.ledger.states import SeenBy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

EXCEPTION = "exception"
SAME = timedelta(minutes=1)
"""An order may be read before its event; their two times of one change differ by less (Telnyx promises nothing)."""
Codes = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Change:
    """One status told about an order: by an event, or by the order itself."""

    status: str
    at: datetime
    codes: Codes | None = None  # None: not told (the payload was pruned)
    seen_by: SeenBy = SeenBy.EVENT


@dataclass(frozen=True)
class Reading:
    """What GET /porting_orders last said, and since when it says so."""

    status: str
    since: datetime  # the order's updated_at when it was first read in this status
    updated_at: datetime
    codes: Codes
    before: tuple[str, datetime] | None = None  # what it said before that, and when last


@dataclass(frozen=True)
class Standing:
    """Where an order stands."""

    status: str
    since: datetime  # start of the unbroken run of this status
    episode: int  # runs of `exception` so far
    codes: Codes | None
    came_from: str | None
    came_at: datetime | None  # when that status began
    seen_by: SeenBy


def standing(changes: Sequence[Change], reading: Reading | None) -> Standing | None:
    """Fold an order's history; None when nothing is known.

    :param changes: what its events say, in any order.
    :param reading: what the order itself says; counts only where it is not older than the newest event.
    """
    history = sorted(changes, key=lambda change: change.at)
    if reading is not None:
        history = _with_reading(history, reading)
    current: Standing | None = None
    for change in history:
        if current is not None and current.status == change.status:
            codes = change.codes if change.codes is not None else current.codes
            seen_by = SeenBy.EVENT if SeenBy.EVENT in (current.seen_by, change.seen_by) else SeenBy.ORDER
            current = replace(current, codes=codes, seen_by=seen_by)
            continue
        episode = (current.episode if current else 0) + (change.status == EXCEPTION)
        came_from, came_at = (current.status, current.since) if current else (None, None)
        current = Standing(change.status, change.at, episode, change.codes, came_from, came_at, change.seen_by)
    return current


def _with_reading(history: list[Change], reading: Reading) -> list[Change]:
    if reading.before is not None:
        history = _with_sight(history, *reading.before)
    last = history[-1] if history else None
    if last is None:
        return [Change(reading.status, reading.since, reading.codes, SeenBy.ORDER)]
    for seen in {reading.since, reading.updated_at}:  # it stood so at both; in between it may have been otherwise
        if seen < last.at:
            history = _with_sight(history, reading.status, seen)
    if _coarse(reading.updated_at, last.at) < _coarse(last.at, reading.updated_at):
        return history
    if last.status == reading.status:
        return [*history[:-1], replace(last, codes=_described(reading.codes, last.codes))]
    since = reading.since if reading.since > last.at else max(reading.updated_at, last.at)
    return [*history, Change(reading.status, since, reading.codes, SeenBy.ORDER)]


def _described(codes: Codes, told: Codes | None) -> Codes:
    """Keep what the event said about a code of which the order says no more than its name."""
    said = dict(told or ())
    return tuple((code, text if text is not None else said.get(code)) for code, text in codes)


def _with_sight(history: list[Change], status: str, since: datetime) -> list[Change]:
    """Add when the order was seen so, where an event that would tell it is missing."""
    if any(_coarse(since, one.at) == _coarse(one.at, since) for one in history):
        return history
    return sorted([*history, Change(status, since, None, SeenBy.ORDER)], key=lambda change: change.at)


def _coarse(value: datetime, other: datetime) -> datetime:
    """Cut a time to the coarser precision of two: an order writes milliseconds where its event has microseconds."""
    unit = max(_unit(value), _unit(other))
    return value.replace(microsecond=value.microsecond - value.microsecond % unit)


def _unit(value: datetime) -> int:
    if value.microsecond == 0:
        return 1_000_000
    return 1_000 if value.microsecond % 1_000 == 0 else 1


def began(now: Standing, changes: Sequence[Change], status: str | None, since: datetime | None) -> datetime:
    """Return when a status began: as known before, when an event only tells late, and a little later, what was known.

    :param changes: what the order's events say.
    :param status: the status as it stood, and `since` when.
    """
    if status != now.status or since is None or not since < now.since <= since + SAME:
        return now.since
    between = any(since < change.at < now.since and change.status != status for change in changes)
    return now.since if between else since


def episode_after(now: Standing, before: tuple[str | None, datetime | None, int]) -> int:
    """Keep the count of exceptions from going back: one known only from the order leaves no event behind.

    :param before: status, since and episode as they stood.
    """
    _, since, episode = before
    if now.status == EXCEPTION and episode and since is not None and now.since > since:
        return max(now.episode, episode + 1)
    return max(now.episode, episode)
