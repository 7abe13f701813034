"""
One window of a list, read until it is proved.

The proof: every page counts the same total, exactly that many rows were given and that many distinct ids were read, and
the last page, which counts once more, was asked for after all others had come and brought the end. Rows never vanish
and ids never change, so the window then held just these rows when its last page was written. A shift by an insertion, a
row given twice or a page cut short breaks an equation and costs another reading; rows already seen still count then. A
row that is on one page twice is no shift, for a page is written at once; whether the total counts both is not known:
such a window is proved without its total.

A provider may cap its counts, and its pages with them; such a window looks complete and is not. So a total that is the
largest ever seen here is believed only when the counts of two parts of its window add up to it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Generic, TypeVar

from telnyx_porting.client import windows
from telnyx_porting.client.windows import SECOND, Window
from telnyx_porting.errors import IncompleteListing, InvalidRequestError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from telnyx_porting.client.windows import Listing, Page, Span

T = TypeVar("T")

READINGS = 4  # of a window before it is given up
PAUSE = 0.5  # seconds before the second reading, doubled for each further one: a list that grows may settle
UNSPLITTABLE_ROWS = 50_000  # read as one window at most, where time cannot split them
UNBOUNDED_ROWS = 1_000_000  # the same for lists that are not bounded by time


class Proof(Generic[T]):
    """Read one span of a list until it is proved."""

    def __init__(self, listing: Listing[T], span: Span) -> None:
        self.listing = listing
        self.span = span
        self.seen: dict[str, T] = {}
        self.requests = 0
        # Of the reading under way:
        self.totals: set[int] = set()
        self.unread: Counter[str] = Counter()
        self.unread_given = 0
        self.given = 0
        self.repeated: set[str] = set()
        self.as_of: datetime | None = None
        self.bounds_work = listing.time_of is not None and span.until is not None

    async def read(self) -> Window[T] | list[Span]:
        """Read until proved.

        :return: the window, or the parts to read instead
        :raises IncompleteListing: when it can be neither proved nor split
        """
        closing: int | None = None
        asked = max(1, self.span.guess // self.listing.page_size)  # all full pages at once, if the guess is right
        for number in range(READINGS):
            if number:
                await self.listing.clock.sleep(PAUSE * 2 ** (number - 1))
            self.totals, self.unread, self.unread_given, self.repeated = set(), Counter(), 0, set()
            self.given = 0
            first, *others = await self._pages(range(1, 1 + asked))
            self.as_of = first.date
            self._check_bounds(first)
            if first.total is None:
                return await self._read_uncounted()
            self.listing.largest_total = max(self.listing.largest_total, first.total)
            if first.total > self.listing.split_above and (parts := await self._split_well(first)):
                return parts
            self._check_size(first.total)
            for page in (first, *others):
                self._take(page)
            closing, adds_up = await self._finish(first, asked)
            if (verdict := await self._judge(closing, adds_up)) is not None:
                return verdict
            if self.repeated and self.totals == {closing}:  # whether its total counts both is not known
                return await self._read_uncounted()
        if self.unread and self.totals == {closing} and closing == len(self.seen) + self.unread_given:
            # Unreadable rows that are equal cannot be told apart where they come on several pages.
            return self._window()
        raise self._incomplete(closing, "counts and rows did not agree, in several readings")

    async def _judge(self, closing: int, adds_up: bool) -> Window[T] | list[Span] | None:
        """Say what a reading was worth; None when it is to be repeated."""
        read = self._read()
        if self.totals == {closing} and read >= closing:
            if read == closing and adds_up:
                return self._window()
            # The list stands still, and there is more than it counts: the count is capped.
            if parts := self._split(read, None, None):
                return parts
            if read > closing:
                return await self._read_uncounted()
        if read > closing:
            self.seen.clear()
        return None

    async def _finish(self, first: Page[T], asked: int) -> tuple[int, bool]:
        """Read all further pages, the last one last.

        :return: the count given after all other pages had come, and whether the rows given, and the counts of parts of
            the window, add up to it
        """
        total, stride = first.total or 0, self._given(first)
        full = min(self.listing.page_size, first.size or self.listing.page_size)
        if stride == 0 or (asked == 1 and total == stride < full):
            return total, True
        last = -(-total // stride)
        for page in await self._pages(range(asked + 1, last)):
            self._take(page)
        if len(self.totals) > 1:  # it grew meanwhile: nothing of this reading is a proof, or of use to the next
            self.seen.clear()
            return -1, False
        parts = asyncio.create_task(self._count_in_parts(total))
        try:
            closing, ended = await self._close(max(last, asked + 1), stride, total)
            in_parts = await parts
        finally:
            parts.cancel()
            await asyncio.gather(parts, return_exceptions=True)
        return closing, ended and in_parts in (None, closing)

    async def _close(self, number: int, stride: int, total: int) -> tuple[int, bool]:
        """Read the last page, and on while there turns out to be more.

        :return: the last count given, and whether this was the end: as many rows were given as it counts, and a page
            past it would be empty
        """
        last = -(-total // stride)
        while True:
            page = await self._page(number)
            closing = page.total if page is not None else None
            if closing is None:  # it refuses pages past the end, or does not count on each: ask for the count alone
                closing = await self._count(self.span.ask_since, self.span.ask_until)
            closing = -1 if closing is None else closing
            if page is None:
                return closing, self.given == closing
            before, given = self._read(), self._given(page)
            self._take(page)
            new = self._read() > before
            if not new and given and number > last:
                # Its last page again, as it says itself; or there is more than it counts, in an order that changes.
                return closing, self.given - given == closing and page.pages is not None and number > page.pages
            if given < stride and (self._read() >= total or not new):
                return closing, self.given == closing
            number += 1

    # -- is the total capped? ------------------------------------------------------------------------------------------

    async def _count_in_parts(self, total: int) -> int | None:
        """Count the window in two parts that share a second, and that second; None where that would prove nothing.

        Whether bounds are inclusive, exclusive or cut to the second, a row is then counted exactly once.
        """
        listing = self.listing
        if not self.bounds_work or total < listing.largest_total:
            return None
        times = sorted(self._times(self.seen.values()))
        cut = times[len(times) // 2].replace(microsecond=0) if times else None
        # Rows seen on either side keep a capped part from hiding behind the other.
        if cut is None or not times[0] < cut or times[-1] < cut + 2 * SECOND:
            return None
        left, right, shared = await asyncio.gather(
            self._count(self.span.ask_since, cut + SECOND),
            self._count(cut, self.span.ask_until),
            self._count(cut, cut + SECOND),
        )
        return None if left is None or right is None or shared is None else left + right - shared

    async def _count(self, since: datetime | None, until: datetime | None) -> int | None:
        self.requests += 1
        return (await self.listing.ask(1, 1, since, until)).total

    # -- lists that do not say how long they are ----------------------------------------------------------------------

    async def _read_uncounted(self) -> Window[T] | list[Span]:
        """Read to an empty page, twice: the same ids both times, none of them on two pages, are the proof."""
        previous: set[str] = set()
        for number in range(READINGS):
            if number > 1:
                await self.listing.clock.sleep(PAUSE * 2 ** (number - 2))
            given = await self._read_to_the_end()
            if isinstance(given, list):
                return given
            ids = self.seen.keys() | self.unread.keys()
            if number and previous == ids and given == len(self.seen) + self.unread_given:
                return self._window()
            previous = ids
        raise self._incomplete(None, "no count is given, and no two readings were equal")

    async def _read_to_the_end(self) -> int | list[Span]:
        """Read once; return the rows given, or parts to read instead when there are too many."""
        self.seen, self.unread, self.unread_given = {}, Counter(), 0
        number, given = 1, 0
        while True:
            page = await self._page(number)
            if number == 1 and page is not None:
                self.as_of = page.date
            if page is None or not self._given(page):
                return given
            before = self._read()
            self._take(page)
            if len(self.seen) > self.listing.split_above and (parts := self._split(0, None, None)):
                return parts
            self._check_size(len(self.seen))
            if self._read() == before:
                if page.pages is not None and number > page.pages:
                    # This provider gives its last page again for those past the end.
                    return given
                raise self._incomplete(None, f"page {number} brings nothing new, and no count says it is the last")
            given += self._given(page)
            number += 1

    # -- splitting -----------------------------------------------------------------------------------------------------

    async def _split_well(self, first: Page[T]) -> list[Span]:
        """Split so that parts are about equal.

        If page 1 is as dense as the whole span, rows are taken as spread evenly; then the parts' pages can be asked
        for without asking for their counts first. Otherwise the last page shows where the rows may begin and end.
        """
        total, span = first.total or 0, self.span
        times = sorted(self._times(first.rows))
        if not self.bounds_work or span.until is None or not times:
            return self._split(total, None, None)
        rows_per_second = total / max((span.until - span.start).total_seconds(), 1.0)
        on_page = len(times) / max((times[-1] - times[0]).total_seconds(), 1.0)
        if rows_per_second / 2 < on_page < rows_per_second * 2:
            return self._split(total, None, None, even=True)
        page = await self._page(-(-total // self._given(first)))
        times = sorted([*times, *self._times(page.rows if page else ())])
        return self._split(total, times[0], times[-1])

    def _split(self, total: int, begin: datetime | None, end: datetime | None, *, even: bool = False) -> list[Span]:
        """Split for so many rows between two times; an empty list where time cannot."""
        span = self.span
        if not self.bounds_work or span.until is None:
            return []
        parts = max(2, -(-total // windows.ROWS_PER_WINDOW))
        guess = total // parts if even else 0
        return span.split(parts, begin or span.start, end or span.until, guess)

    def _check_bounds(self, first: Page[T]) -> None:
        """Look whether the provider honours the bounds; if not, time splits nothing."""
        if not self.bounds_work or self.span.honoured_by(self._times(first.rows)):
            return
        self.bounds_work = False
        if self.span.part:
            raise self._incomplete(first.total, "the provider answers with rows outside the bounds asked for")

    async def _page(self, number: int) -> Page[T] | None:
        """Ask for a page; None where the provider refuses one past the end."""
        self.requests += 1
        span, listing = self.span, self.listing
        try:
            return await listing.ask(number, listing.page_size, span.ask_since, span.ask_until)
        except (InvalidRequestError, NotFoundError):
            if number == 1:
                raise
            return None

    async def _pages(self, numbers: Iterable[int]) -> list[Page[T]]:
        """Ask for pages together; those past the end are left out. The first error ends them all."""
        tasks = [asyncio.create_task(self._page(number)) for number in numbers]
        try:
            return [page for page in await asyncio.gather(*tasks) if page is not None]
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    def _take(self, page: Page[T]) -> None:
        if page.total is not None:
            self.totals.add(page.total)
        ids = list(map(self.listing.id_of, page.rows))
        self.seen.update(zip(ids, page.rows, strict=True))
        if len(set(ids)) < len(ids):
            self.repeated |= {each for each, times in Counter(ids).items() if times > 1}
        self.unread_given += len(page.unread)
        self.given += self._given(page)
        # An unreadable row has no id: given again on another page it counts once, so no row can hide behind it.
        self.unread |= Counter(page.unread)

    def _given(self, page: Page[T]) -> int:  # distinct rows, readable or not
        return len(set(map(self.listing.id_of, page.rows))) + len(page.unread)

    def _read(self) -> int:  # rows certainly met so far
        return len(self.seen) + self.unread.total()

    def _times(self, rows: Iterable[T]) -> list[datetime]:
        time_of = self.listing.time_of
        return [] if time_of is None else [moment for row in rows if (moment := time_of(row)) is not None]

    def _check_size(self, total: int) -> None:
        most = UNBOUNDED_ROWS if self.listing.time_of is None else UNSPLITTABLE_ROWS
        if total > most:
            raise self._incomplete(total, f"more than {most} rows that time does not split")

    def _window(self) -> Window[T]:
        span, odd = self.span, tuple(self.unread.elements())
        twice = tuple(f"{row} twice on a page" for row in sorted(self.repeated))
        own = span.own(self.seen, self.listing.time_of)
        return Window(span.since, span.until or windows.AFTER_EVERYTHING, own, self.requests, self.as_of, odd, twice)

    def _incomplete(self, expected: int | None, why: str) -> IncompleteListing:
        start = self.span.since.isoformat() if self.span.since else "the beginning"
        end = self.span.until.isoformat() if self.span.until else "now"
        counted = "an unknown number" if expected is None else expected
        counts = f"the provider counts {counted}, {self._read()} distinct read"
        reason = f"incomplete listing of {start} to {end}: {counts}: {why}"
        return IncompleteListing(reason, until=self.span.until, path=self.listing.path)
