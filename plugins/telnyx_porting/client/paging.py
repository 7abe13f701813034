"""
Lists that are complete or an error.

Telnyx publishes neither the order of a list nor how ties are broken, and pages are cut by number from a list that may
grow meanwhile. So nothing is believed but counts and ids: a *window* of time is read by pages, its last page only
after all others have come, and it is proved when every page counts the same total and exactly that many distinct ids
were read. Deep lists are split by time into windows, read ahead two at a time, so memory does not grow with the list.

Bounds may be inclusive, exclusive or cut to the second (undocumented): windows ask for a second more on either side
and keep what is theirs by the rows' own time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from telnyx_porting.errors import IncompleteListing, InvalidRequestError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from telnyx_porting.client.pacer import Clock

T = TypeVar("T")

ROWS_PER_WINDOW = 4_000
"""Rows a window of a deep list aims at."""
UNSPLITTABLE_ROWS = 50_000
"""Rows read at once at most where time cannot split them."""
UNBOUNDED_ROWS = 1_000_000
"""The same for lists without a time to split by."""
READ_AHEAD = 2
"""Windows read at the same time."""
ATTEMPTS = 4
"""Readings of a window before it is given up."""
MARGIN = timedelta(seconds=1)
SECOND = timedelta(seconds=1)
BEFORE_EVERYTHING = datetime(2010, 1, 1, tzinfo=UTC)
"""Where to start splitting a window without a start; it stays open."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """
    One page as answered.

    :param rows: in the order given
    :param total: the provider's count of the whole list, None when missing
    :param pages: its number of pages, None when missing
    :param size: its page size, None when missing
    :param date: the answer's ``Date``
    """

    rows: list[T]
    total: int | None
    pages: int | None
    size: int | None
    date: datetime | None


class Ask(Protocol[T]):
    """Ask for one page; the bounds are what is put on the wire."""

    async def __call__(
        self, number: int, size: int, since: datetime | None, until: datetime | None, rank: int
    ) -> Page[T]: ...


@dataclass(frozen=True, slots=True)
class Window(Generic[T]):
    """
    A part of a list that is complete.

    :param since: start, None when open
    :param until: end; part of the last window of a listing, of the next window otherwise
    :param rows: oldest first; rows without a time last
    :param requests: requests it took
    :param as_of: the provider's ``Date`` as the proving reading began, None when not sent
    """

    since: datetime | None
    until: datetime | None
    rows: list[T]
    requests: int
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of time to read. ``guess``: how many rows are to be expected."""

    since: datetime | None
    until: datetime | None
    last: bool = True
    guess: int = 0

    def ask_since(self) -> datetime | None:
        return None if self.since is None else self.since.replace(microsecond=0) - MARGIN

    def ask_until(self) -> datetime | None:
        return None if self.until is None else self.until.replace(microsecond=0) + SECOND + MARGIN

    def holds(self, moment: datetime) -> bool:
        if self.since is not None and moment < self.since:
            return False
        if self.until is None:
            return True
        return moment <= self.until if self.last else moment < self.until

    def split(self, parts: int, guess: int) -> list[_Span]:
        """Cut at whole seconds; an empty list when there is none to cut at."""
        if self.until is None:
            return []
        start = self.since or min(BEFORE_EVERYTHING, self.until - 2 * SECOND)
        step = (self.until - start) / parts
        cuts = sorted({(start + step * number).replace(microsecond=0) for number in range(1, parts)})
        cuts = [cut for cut in cuts if start < cut < self.until]
        if not cuts or (self.since is None and self.until - start <= 2 * SECOND):
            return []
        starts = [self.since, *cuts]
        ends = [*cuts, self.until]
        return [
            _Span(since, until, self.last and until is self.until, guess)
            for since, until in zip(starts, ends, strict=True)
        ]


class Listing(Generic[T]):
    """
    Read one list, window by window.

    :param ask: asks for one page
    :param id_of: a row's id
    :param time_of: a row's time, by which the list is bounded; None: the list has no bounds
    :param page_size: rows asked for per page
    :param clock: for pauses between readings
    :param path: for errors
    :param rows_per_window: rows a window of a deep list aims at
    """

    def __init__(
        self,
        ask: Ask[T],
        *,
        id_of: Callable[[T], str],
        time_of: Callable[[T], datetime | None] | None,
        page_size: int,
        clock: Clock,
        path: str,
        rows_per_window: int = ROWS_PER_WINDOW,
    ) -> None:
        self.ask = ask
        self.id_of = id_of
        self.time_of = time_of
        self.page_size = page_size
        self.clock = clock
        self.path = path
        self.rows_per_window = rows_per_window
        self.split_above = rows_per_window * 5 // 4
        # A total is believed up to the largest one seen or proved: a list capped at N never counts more than N.
        self.largest_total = 0
        self.proved_total = 0

    async def windows(self, since: datetime | None, until: datetime | None) -> AsyncIterator[Window[T]]:
        """
        Yield proved windows, oldest first, that tile the time asked for.

        :raises IncompleteListing: when a window cannot be proved
        """
        queue: deque[_Span | asyncio.Task[Window[T] | list[_Span]]] = deque([_Span(since, until)])
        timeless = _Timeless()
        rank = 0
        try:
            while queue:
                for position in range(min(READ_AHEAD, len(queue))):
                    span = queue[position]
                    if isinstance(span, _Span):
                        rank += 1
                        queue[position] = asyncio.ensure_future(_Reading(self, span, rank).read())
                head = queue[0]
                assert not isinstance(head, _Span)  # noqa: S101  (started just above)
                outcome = await head
                queue.popleft()
                if isinstance(outcome, Window):
                    yield self._without_repeats(outcome, timeless)
                else:
                    queue.extendleft(reversed(outcome))
                del outcome, head
        finally:
            tasks = [item for item in queue if not isinstance(item, _Span)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _without_repeats(self, window: Window[T], timeless: _Timeless) -> Window[T]:
        """Drop rows without a time that a neighbouring window, which overlaps on the wire, gave already."""
        if self.time_of is None:
            return window
        rows = window.rows
        first = next((i for i, row in enumerate(rows) if self.time_of(row) is None), len(rows))
        if first < len(rows):
            rows[first:] = [row for row in rows[first:] if timeless.is_new(self.id_of(row), window.since)]
        return window


class _Timeless:
    """Ids of rows without a time, kept while the next window may still give them again."""

    def __init__(self) -> None:
        self._ids: dict[str, datetime | None] = {}

    def is_new(self, row_id: str, since: datetime | None) -> bool:
        if since is not None:
            horizon = since - 4 * SECOND
            self._ids = {k: v for k, v in self._ids.items() if v is None or v >= horizon}
        new = row_id not in self._ids
        self._ids[row_id] = since
        return new


@dataclass(slots=True)
class _Attempt:
    """What one reading of a window saw of the provider's counts."""

    totals: set[int | None] = field(default_factory=set)
    date: datetime | None = None
    closing_total: int | None = None
    halves_agree: bool = True


class _Reading(Generic[T]):
    """Read one span: prove it, or say how to split it."""

    def __init__(self, listing: Listing[T], span: _Span, rank: int) -> None:
        self.listing = listing
        self.span = span
        self.rank = rank
        self.seen: dict[str, T] = {}
        self.requests = 0

    async def read(self) -> Window[T] | list[_Span]:
        """Read until proved, with pauses in which a list that is growing may settle."""
        listing = self.listing
        attempt = _Attempt()
        for number in range(ATTEMPTS):
            if number:
                await listing.clock.sleep(0.25 * 2**number)
            attempt = _Attempt()
            parts = await self._attempt(attempt)
            if parts:
                return parts
            if attempt.closing_total is None:
                return await self._read_uncounted()
            counts_agree = attempt.totals == {attempt.closing_total}
            if counts_agree and len(self.seen) == attempt.closing_total and attempt.halves_agree:
                listing.proved_total = max(listing.proved_total, attempt.closing_total)
                return self._window(attempt.date)
            if not attempt.halves_agree and (parts := self._split(2 * listing.rows_per_window)):
                return parts
            if attempt.closing_total < len(self.seen):
                self.seen.clear()
        raise self._incomplete(attempt.closing_total, "counts and rows do not agree, in several readings")

    async def _attempt(self, attempt: _Attempt) -> list[_Span]:
        """Read all pages, the last one last; an empty list, or how to split instead."""
        listing = self.listing
        fetched = max(1, self.span.guess * 4 // 5 // listing.page_size)
        pages = await self._pages(range(1, fetched + 1))
        first = pages[0]
        attempt.date = first.date
        total = first.total
        if total is None:
            return []
        listing.largest_total = max(listing.largest_total, total)
        if total > listing.split_above and (parts := self._split(total)):
            return parts
        self._check_size(total)
        for page in pages:
            self._take(page, attempt)
        stride = len(first.rows)
        attempt.closing_total = total
        if stride == 0 or self._is_whole(first, fetched):
            return []
        last = -(-total // stride)
        for page in await self._pages(range(fetched + 1, last)):
            self._take(page, attempt)
        await self._close(max(last, fetched + 1), stride, total, attempt)
        return []

    def _is_whole(self, first: Page[T], fetched: int) -> bool:
        """Tell whether page 1 says by itself that nothing follows: it is not full and counts what it holds."""
        size = min(self.listing.page_size, first.size or self.listing.page_size)
        return fetched == 1 and first.total == len(first.rows) and len(first.rows) < size

    async def _close(self, number: int, stride: int, total: int, attempt: _Attempt) -> None:
        """Read the last page, and on while there is more; what it counts is the count after all others."""
        halves = asyncio.ensure_future(self._halves(total))
        try:
            while True:
                page = await self._page(number)
                before = len(self.seen)
                if page is None:
                    attempt.closing_total = (await self._count(self.span.ask_since(), self.span.ask_until())) or -1
                    break
                self._take(page, attempt)
                attempt.closing_total = total if page.total is None else page.total
                new = len(self.seen) - before
                if not new or (len(page.rows) < stride and len(self.seen) >= total):
                    break
                number += 1
            attempt.halves_agree = self._agree(await halves)
        finally:
            halves.cancel()

    # -- is the total capped? --------------------------------------------------------------------------------

    async def _halves(self, total: int) -> tuple[datetime, int | None, int | None] | None:
        """
        Count both halves of the window, where its total has no other witness.

        A provider may cap its counts and its pages alike; then a window looks complete and is not.
        """
        listing = self.listing
        if listing.time_of is None or total <= listing.proved_total or total < listing.largest_total:
            return None
        cut = self._quiet_second()
        if cut is None:
            return None
        left, right = await asyncio.gather(
            self._count(self.span.ask_since(), cut), self._count(cut, self.span.ask_until())
        )
        return cut, left, right

    def _agree(self, halves: tuple[datetime, int | None, int | None] | None) -> bool:
        if halves is None or self.listing.time_of is None:
            return True
        cut, left, right = halves
        before = after = unsure = 0
        for row in self.seen.values():
            moment = self.listing.time_of(row)
            if moment is None or cut <= moment < cut + SECOND:
                unsure += 1
            elif moment < cut:
                before += 1
            else:
                after += 1
        return (left is None or before <= left <= before + unsure) and (
            right is None or after <= right <= after + unsure
        )

    def _quiet_second(self) -> datetime | None:
        """Find a second to cut at, near the middle, with few rows or none in it."""
        assert self.listing.time_of is not None  # noqa: S101  (asked for by _halves alone)
        seconds: dict[datetime, int] = {}
        for row in self.seen.values():
            moment = self.listing.time_of(row)
            if moment is not None:
                second = moment.replace(microsecond=0)
                seconds[second] = seconds.get(second, 0) + 1
        if len(seconds) < 2:
            return None
        ordered = sorted(seconds)
        middle = ordered[len(ordered) // 4 : len(ordered) * 3 // 4 + 1]
        candidates = [second + SECOND for second in middle[:200]] + middle[:200]
        inside = [c for c in candidates if ordered[0] < c <= ordered[-1]]
        return min(inside, key=lambda c: seconds.get(c, 0), default=None)

    async def _count(self, since: datetime | None, until: datetime | None) -> int | None:
        self.requests += 1
        page = await self.listing.ask(1, 1, since, until, self.rank)
        return page.total

    # -- lists that do not say how long they are -------------------------------------------------------------

    async def _read_uncounted(self) -> Window[T] | list[_Span]:
        """Read to an empty page (or the last one announced), twice; the same ids both times prove it."""
        previous: set[str] | None = None
        for _ in range(ATTEMPTS):
            self.seen = {}
            number, date = 1, None
            while True:
                page = await self._page(number)
                if page is None or not page.rows:
                    break
                date = date or page.date
                before = len(self.seen)
                self._take(page, _Attempt())
                if len(self.seen) > self.listing.split_above and (parts := self._split(0)):
                    return parts
                self._check_size(len(self.seen))
                if page.pages is not None and number >= page.pages:
                    break
                if len(self.seen) == before:
                    raise self._incomplete(None, f"page {number} brings nothing new and no count says it is the last")
                number += 1
            if previous == self.seen.keys():
                return self._window(date)
            previous = set(self.seen)
        raise self._incomplete(None, "no count is given, and no two readings were equal")

    # -- small things ----------------------------------------------------------------------------------------

    async def _page(self, number: int) -> Page[T] | None:
        """Ask for a page; None where the provider refuses one past the end."""
        self.requests += 1
        span, listing = self.span, self.listing
        try:
            return await listing.ask(number, listing.page_size, span.ask_since(), span.ask_until(), self.rank)
        except (InvalidRequestError, NotFoundError):
            if number == 1:
                raise
            return None

    async def _pages(self, numbers: Iterable[int]) -> list[Page[T]]:
        """Ask for pages together; those past the end are left out."""
        numbers = list(numbers)
        if len(numbers) == 1:
            page = await self._page(numbers[0])
            return [] if page is None else [page]
        tasks: list[asyncio.Task[Page[T] | None]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._page(number)) for number in numbers]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [page for task in tasks if (page := task.result()) is not None]

    def _take(self, page: Page[T], attempt: _Attempt) -> None:
        attempt.totals.add(page.total)
        id_of, seen = self.listing.id_of, self.seen
        for row in page.rows:
            seen[id_of(row)] = row

    def _split(self, total: int) -> list[_Span]:
        if self.listing.time_of is None:
            return []
        parts = max(2, -(-total // self.listing.rows_per_window))
        return self.span.split(parts, total // parts)

    def _check_size(self, total: int) -> None:
        most = UNBOUNDED_ROWS if self.listing.time_of is None else UNSPLITTABLE_ROWS
        if total > most:
            raise self._incomplete(total, f"more than {most} rows that time cannot split")

    def _window(self, as_of: datetime | None) -> Window[T]:
        rows = list(self.seen.values())
        time_of = self.listing.time_of
        if time_of is not None:
            timed: list[tuple[datetime, str, T]] = []
            timeless: list[T] = []
            for row_id, row in self.seen.items():
                moment = time_of(row)
                if moment is None:
                    timeless.append(row)
                elif self.span.holds(moment):
                    timed.append((moment, row_id, row))
            timed.sort(key=lambda item: item[:2])
            rows = [row for _, _, row in timed] + timeless
        return Window(self.span.since, self.span.until, rows, self.requests, as_of)

    def _incomplete(self, expected: int | None, why: str) -> IncompleteListing:
        return IncompleteListing(
            why,
            since=self.span.since,
            until=self.span.until,
            expected=expected,
            got=len(self.seen),
            path=self.listing.path,
        )
