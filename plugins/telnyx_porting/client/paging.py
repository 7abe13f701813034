"""
Lists that are complete or an error.

Telnyx publishes neither the order of a list nor how ties are broken, and pages are cut by number from a list that may
grow meanwhile. So nothing is believed but counts and ids: a *window* of time is read by pages and proved
(``proof.py``). Deep lists are split by time into windows, a few of which are read at the same time, so memory does not
grow with the list, and a window is handed out as soon as it is proved.

Bounds may be inclusive, exclusive or cut to the second (undocumented): a window asks for a second more on either side
and keeps what is its own by the rows' own time. Rows without a time are kept where the provider put them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from telnyx_porting.client.proof import Proof
from telnyx_porting.client.windows import SECOND, Span, Window

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

    from telnyx_porting.client.windows import Listing, Page

T = TypeVar("T")

READ_AHEAD = 3
"""Windows read at the same time, and one more for every 8 connections: as one waits for its last page, others read."""


class Pager(Generic[T]):
    """Read one list, window by window, with so many requests in flight at most."""

    def __init__(self, listing: Listing[T], in_flight: int) -> None:
        self._listing = listing
        self._read_ahead = READ_AHEAD + in_flight // 8
        self._timeless: dict[str, datetime] = {}

    async def first_page(self, size: int) -> Page[T]:
        """Ask for the first rows alone, whatever their time; they prove nothing."""
        return await self._listing.ask(1, size, None, None)

    async def windows(self, since: datetime | None, until: datetime | None) -> AsyncGenerator[Window[T], None]:
        """
        Yield proved windows, oldest first, that tile the time asked for.

        :raises IncompleteListing: when a window cannot be proved
        """
        queue: deque[Span | asyncio.Task[Window[T] | list[Span]]] = deque([Span(since, until)])
        try:
            while queue:
                for position in range(min(self._read_ahead, len(queue))):
                    span = queue[position]
                    if isinstance(span, Span):
                        queue[position] = asyncio.create_task(Proof(self._listing, span).read())
                head = queue[0]
                if isinstance(head, Span):
                    raise AssertionError("unreachable")
                outcome = await head
                queue.popleft()
                del head
                if isinstance(outcome, Window):
                    self._drop_repeats(outcome)
                    yield outcome
                else:
                    queue.extendleft(reversed(outcome))
                # What the caller has is not kept here while the next window is read.
                del outcome
        finally:
            tasks = [item for item in queue if not isinstance(item, Span)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _drop_repeats(self, window: Window[T]) -> None:
        """Drop rows without a time that an earlier window gave: windows overlap by seconds on the wire."""
        time_of, id_of, rows = self._listing.time_of, self._listing.id_of, window.rows
        if time_of is None:
            return
        first = len(rows)
        while first and time_of(rows[first - 1]) is None:
            first -= 1
        if first == len(rows):
            return
        if window.since is not None:
            horizon = window.since - 4 * SECOND
            self._timeless = {k: end for k, end in self._timeless.items() if end >= horizon}
        rows[first:] = [row for row in rows[first:] if id_of(row) not in self._timeless]
        self._timeless.update((id_of(row), window.until) for row in rows[first:])
