"""What paging is made of: a list, a page, the question for one, a stretch of time, and the window it becomes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from telnyx_porting.client.clock import Clock

T = TypeVar("T")

SECOND = timedelta(seconds=1)
ROWS_PER_WINDOW = 3_000
"""Rows a window of a deep list aims at."""
BEFORE_EVERYTHING = datetime(2010, 1, 1, tzinfo=UTC)
"""Where splitting starts in a stretch without a start; its first part stays open."""
AFTER_EVERYTHING = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """
    One page as answered.

    :param rows: in the order given
    :param total: the provider's count of the whole list, None when missing
    :param pages: its number of pages, None when missing
    :param size: its page size, None when missing
    :param date: the answer's ``Date``
    :param unread: what is wrong with each row that cannot be read; equal rows are told apart by how many there are
    """

    rows: list[T]
    total: int | None
    pages: int | None
    size: int | None
    date: datetime | None
    unread: list[str] = field(default_factory=list)


class Ask(Protocol[T]):
    """Ask for one page; ``since`` and ``until`` go on the wire as they are."""

    async def __call__(self, number: int, size: int, since: datetime | None, until: datetime | None) -> Page[T]: ...


@dataclass(slots=True)
class Listing(Generic[T]):
    """
    One list, and the largest count it ever gave: one that counts N somewhere is capped nowhere below N.

    :param time_of: a row's time, by which the list is bounded; None: the list has no bounds
    :param page_size: rows asked for per page
    """

    ask: Ask[T]
    id_of: Callable[[T], str]
    time_of: Callable[[T], datetime | None] | None
    page_size: int
    clock: Clock
    path: str
    largest_total: int = 0

    @property
    def split_above(self) -> int:
        """Rows above which a window is split."""
        return ROWS_PER_WINDOW * 5 // 4


@dataclass(frozen=True, slots=True)
class Window(Generic[T]):
    """
    A part of a list that is complete: all of its rows were read, as far as they can be.

    :param since: start, None when the caller gave none
    :param until: end, at the end of time when the list has no bounds; a row at this very time is in here only if this
        is the last window of the list
    :param rows: oldest first; those without a time last
    :param requests: requests it took
    :param as_of: the provider's ``Date`` as the proving reading began, None when not sent; what was recorded later may
        be missing
    :param unread: what is wrong with each row that cannot be read, such as one without id; it is in no other field
    :param repeated: which rows are on one page twice; the provider may count them twice
    """

    since: datetime | None
    until: datetime
    rows: list[T]
    requests: int
    as_of: datetime | None
    unread: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """
    A stretch of time to read.

    :param last: whether its end belongs to it
    :param part: whether a longer one was split into it
    :param guess: rows to be expected in it; 0 when there is no telling
    """

    since: datetime | None
    until: datetime | None
    last: bool = True
    part: bool = False
    guess: int = 0

    @property
    def ask_since(self) -> datetime | None:
        return None if self.since is None else self.since.replace(microsecond=0) - SECOND

    @property
    def ask_until(self) -> datetime | None:
        return None if self.until is None else self.until.replace(microsecond=0) + 2 * SECOND

    @property
    def start(self) -> datetime:
        """A start even where there is none."""
        return BEFORE_EVERYTHING if self.since is None else self.since

    def honoured_by(self, moments: Iterable[datetime]) -> bool:
        """Tell whether all these times are within what was asked for, give or take a second."""
        low = None if self.ask_since is None else self.ask_since - SECOND
        high = None if self.ask_until is None else self.ask_until + SECOND
        return all((low is None or low <= m) and (high is None or m <= high) for m in moments)

    def own(self, rows: Mapping[str, T], time_of: Callable[[T], datetime | None] | None) -> list[T]:
        """Return which of some rows, by id, are in it: oldest first, then those without a time."""
        if time_of is None:
            return list(rows.values())
        timeless = [row for row in rows.values() if time_of(row) is None]
        # Ids differ, so rows themselves are never compared.
        items = zip(map(time_of, rows.values()), rows, rows.values(), strict=True)
        ordered = sorted(item for item in items if item[0] is not None) if timeless else sorted(items)
        times = cast("list[datetime]", [item[0] for item in ordered])
        first = bisect_left(times, self.since) if self.since else 0
        cut = bisect_right if self.last else bisect_left
        last = cut(times, self.until) if self.until else len(times)
        return [item[2] for item in ordered[first:last]] + timeless

    def split(self, parts: int, first: datetime, last: datetime, guess: int) -> list[Span]:
        """
        Cut it at whole seconds into up to so many parts.

        :param first: where its rows seem to begin
        :param last: and to end
        :return: an empty list when there is no second to cut at
        """
        if self.until is None:
            return []
        first, last = max(first, self.start), min(last, self.until)
        steps = [first + (last - first) / parts * number for number in range(1, parts)]
        # Where all rows seem to be in one second there may still be a cut next to it.
        steps += [first, last + SECOND] if last - first < 2 * SECOND else []
        cuts = sorted({step.replace(microsecond=0) for step in steps})
        cuts = [cut for cut in cuts if self.start < cut < self.until]
        starts, ends = [self.since, *cuts], [*cuts, self.until]
        if not cuts:
            return []
        return [
            Span(since, until, last=self.last and until is self.until, part=True, guess=guess)
            for since, until in zip(starts, ends, strict=True)
        ]
