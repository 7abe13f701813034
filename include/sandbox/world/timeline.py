"""All events in the order of their creation: the computed archive and the rows made since, merged."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.sandbox.world.archive import Archive
    from include.sandbox.world.model import Event


@dataclass(slots=True)
class Selection:
    """What a listing asks for. Bounds are creation times, both ends included; None = open."""

    since_us: int | None = None
    until_us: int | None = None
    event_type: str | None = None
    order_id: str | None = None


class Timeline:
    """Events sorted by (created_at, order of insertion)."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._rows: list[Event] = []
        self._by_id: dict[str, Event] = {}
        self._by_order: dict[str, list[Event]] = {}

    def __len__(self) -> int:
        return len(self._rows) + self.archive.count

    @property
    def rows(self) -> Sequence[Event]:
        """The events that are stored, oldest first."""
        return self._rows

    def add(self, event: Event) -> None:
        """Insert an event where its creation time puts it."""
        insort(self._rows, event, key=lambda e: e.sort_key)
        self._by_id[event.id] = event
        insort(self._by_order.setdefault(event.order_id, []), event, key=lambda e: e.sort_key)

    def remove(self, event_id: str) -> bool:
        """Take a stored event away as if it had never been; computed ones stay."""
        event = self._by_id.pop(event_id, None)
        if event is None:
            return False
        self._rows.remove(event)
        self._by_order[event.order_id].remove(event)
        return True

    def find(self, event_id: str) -> Event | None:
        """Find an event by its id."""
        return self._by_id.get(event_id.lower()) or self.archive.find_event(event_id)

    def of_order(self, order_id: str) -> list[Event]:
        """List the stored events of an order, oldest first."""
        return self._by_order.get(order_id, [])

    def view(self, want: Selection) -> View:
        """Select events; the view is cheap whatever the number of events."""
        return View(self, want)


class View:
    """A selection of events in time order: countable, sliceable."""

    def __init__(self, timeline: Timeline, want: Selection) -> None:
        self._archive = timeline.archive
        self._old = _archive_positions(timeline.archive, want)
        rows: Sequence[Event] = timeline.of_order(want.order_id) if want.order_id else timeline.rows
        if want.event_type:
            rows = [e for e in rows if e.type == want.event_type]
        low = 0 if want.since_us is None else bisect_left(rows, want.since_us, key=lambda e: e.created_us)
        high = len(rows) if want.until_us is None else bisect_right(rows, want.until_us, key=lambda e: e.created_us)
        self._rows = rows[low:high] if (low, high) != (0, len(rows)) else rows

    def __len__(self) -> int:
        return len(self._old) + len(self._rows)

    def slice(self, start: int, stop: int) -> list[Event]:
        """Give the events from position start up to stop."""
        stop = min(stop, len(self))
        start = max(start, 0)
        if start >= stop:
            return []
        if not self._old:
            return list(self._rows[start:stop])
        row = bisect_left(range(len(self._rows)), start, key=self._rank)
        old = start - row
        found: list[Event] = []
        while len(found) < stop - start:
            if row < len(self._rows) and self._rank(row) == row + old:
                found.append(self._rows[row])
                row += 1
            else:
                found.append(self._archive.event(self._old[old]))
                old += 1
        return found

    def _rank(self, row: int) -> int:
        """Give the position a stored row has among all events of the view."""
        created = self._rows[row].created_us
        return row + bisect_right(self._old, created, key=self._archive.created_us)


def _archive_positions(archive: Archive, want: Selection) -> Sequence[int]:
    positions: Sequence[int]
    if want.order_id:
        positions = archive.positions_of_order(want.order_id)
        if want.event_type:
            of_type = archive.event
            positions = [p for p in positions if of_type(p).type == want.event_type]
    elif want.event_type:
        positions = archive.positions_of_type(want.event_type)
    else:
        positions = range(archive.count)
    key = archive.created_us
    low = 0 if want.since_us is None else bisect_left(positions, want.since_us, key=key)
    high = len(positions) if want.until_us is None else bisect_right(positions, want.until_us, key=key)
    return positions[low:high]
