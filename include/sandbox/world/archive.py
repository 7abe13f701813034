"""A history of any length that is computed, not stored: row i is a function of the seed and i."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from include.sandbox.world import catalog, payloads
from include.sandbox.world.model import Event, Number, Order
from include.sandbox.world.stories import FORGOTTEN_DRAFT, STEPS, STORIES, Step
from include.sandbox.world.times import DAY, HOUR

if TYPE_CHECKING:
    from include.sandbox.world.ids import Ids

#: Weeks an order takes, about; decides how many live side by side.
_LIFE = 21 * DAY
#: One recent event in so many never gets its payload.
_STUCK_EVERY = 97
_STUCK_SPAN = 14 * DAY

_TYPES = {
    "status": catalog.STATUS_CHANGED,
    "comment": catalog.NEW_COMMENT,
    "loa": catalog.LOA_UPDATED,
    "token": catalog.SHARING_TOKEN_EXPIRED,
    "messaging": catalog.MESSAGING_CHANGED,
    "deleted": catalog.DELETED,
}


class Archive:
    """Events spread evenly over a span of time, in cohorts of orders that live side by side."""

    def __init__(self, ids: Ids, events: int, until_us: int, span_us: int = 3 * 365 * DAY) -> None:
        self.count = events
        self._ids = ids
        self._until_us = until_us
        self._step_us = max(1, span_us // max(1, events))
        self._start_us = until_us - self._step_us * events
        self._width = max(1, events * _LIFE // (span_us * STEPS))
        self._cohort = self._width * STEPS
        # the first events of the first cohort lie before the history, so that the last cohort is half through at
        # its end; every order keeps at least its last event
        self._skip = min((self._cohort * 55 // 100 - events) % self._cohort, self._cohort - self._width)
        full, rest = divmod(events + self._skip, self._cohort)
        self.order_count = full * self._width + min(rest, self._width) if events else 0
        self._by_type: dict[str, array[int]] = {}

    # events, by position in time

    def created_us(self, index: int) -> int:
        """Give the creation time of an event; grows with the index."""
        jitter = ((index * 2654435761) & 0xFFFFFFFF) * self._step_us >> 32
        return self._start_us + index * self._step_us + jitter

    def below(self, us: int, *, inclusive: bool) -> int:
        """Count the events created before a time (or at it)."""
        side = bisect_right if inclusive else bisect_left
        return side(range(self.count), us, key=self.created_us)

    def positions_of_type(self, event_type: str) -> array[int]:
        """List the positions of one type; computed once."""
        if event_type not in self._by_type:
            found = array("I", (i for i in range(self.count) if self._type(i) == event_type))
            self._by_type[event_type] = found
        return self._by_type[event_type]

    def positions_of_order(self, order_id: str) -> list[int]:
        """List the positions of one order's events."""
        number = self._order_number(order_id)
        return [] if number is None else [p for p in self._order_positions(number) if p >= 0]

    def find_event(self, event_id: str) -> Event | None:
        """Find an event by its id."""
        index = self._ids.unpack("event", event_id)
        return self.event(index) if index is not None and index < self.count else None

    def event(self, index: int) -> Event:
        """Compute an event."""
        number, step_index = self._place(index)
        step = _story(number)[step_index]
        created = self.created_us(index)
        occurred = created - 40_000
        completed = not self._stuck(index, created)
        event_type = _TYPES[step.kind]
        done = created + 1_500_000 if completed else None
        payload = None
        if catalog.supports_webhook(event_type):
            payload = self._payload(number, step, index, occurred)
        return Event(
            id=self._ids.packed("event", index),
            type=event_type,
            order_id=self._ids.packed("order", number),
            occurred_us=occurred,
            created_us=created,
            updated_us=done or created,
            completed=completed,
            payload=payload,
            seq=index,
            completed_us=done,
        )

    # orders, by position in time of creation

    def find_order(self, order_id: str) -> Order | None:
        """Find an order by its id; a deleted draft is not found."""
        number = self._order_number(order_id)
        return None if number is None or self._is_deleted(number) else self.order(number)

    def order(self, number: int) -> Order:
        """Compute an order as it is now."""
        order = self._blank_order(number)
        story = _story(number)
        for step, position in zip(story, self._order_positions(number), strict=False):
            at = self.created_us(position) - 40_000
            if step.kind == "status":
                order.status, order.codes, order.updated_us = step.value, step.codes, at
                if step.value == "foc-date-confirmed":
                    order.foc_actual_us = at + 5 * DAY
                elif step.value == "ported":
                    order.activation_status = "Active"
            elif step.kind == "messaging":
                order.messaging_status, order.updated_us = step.value, at
        return order

    def orders_left(self) -> array[int]:
        """List the numbers of the orders that have not been deleted."""
        return array("I", (n for n in range(self.order_count) if not self._is_deleted(n)))

    def order_created_us(self, number: int) -> int:
        """Give the creation time of an order; grows with the number."""
        cohort, lane = divmod(number, self._width)
        return self.created_us(cohort * self._cohort + lane - self._skip) - 2 * HOUR

    def stuck_events(self) -> list[str]:
        """List the events with a webhook that never got their payload."""
        first = self.below(self._until_us - _STUCK_SPAN, inclusive=False)
        found = []
        for index in range(first, self.count):
            if self._stuck(index, self.created_us(index)) and catalog.supports_webhook(self._type(index)):
                found.append(self._ids.packed("event", index))
        return found

    def _is_deleted(self, number: int) -> bool:
        if _story(number) is not FORGOTTEN_DRAFT:
            return False
        cohort, lane = divmod(number, self._width)
        return cohort * self._cohort + lane + (STEPS - 1) * self._width - self._skip < self.count

    def _stuck(self, index: int, created_us: int) -> bool:
        return index % _STUCK_EVERY == 13 and created_us >= self._until_us - _STUCK_SPAN

    def _place(self, index: int) -> tuple[int, int]:
        cohort, rest = divmod(index + self._skip, self._cohort)
        step, lane = divmod(rest, self._width)
        return cohort * self._width + lane, step

    def _type(self, index: int) -> str:
        number, step = self._place(index)
        return _TYPES[_story(number)[step].kind]

    def _order_number(self, order_id: str) -> int | None:
        number = self._ids.unpack("order", order_id)
        return number if number is not None and number < self.order_count else None

    def _order_positions(self, number: int) -> list[int]:
        cohort, lane = divmod(number, self._width)
        first = cohort * self._cohort + lane - self._skip
        return [p for p in range(first, first + self._cohort, self._width) if p < self.count]

    def _blank_order(self, number: int) -> Order:
        order_id = self._ids.packed("order", number)
        created = self.order_created_us(number)
        return Order(
            id=order_id,
            created_us=created,
            updated_us=created,
            seq=number,
            customer_reference=f"site-{number:06d}",
            customer_group_reference=f"group-{number % 50:02d}",
            support_key=f"sr_{number:06x}",
            parent_support_key=f"pr_{number // 4:06x}",
            foc_requested_us=created + 14 * DAY,
            messaging_enabled=_story(number) is not FORGOTTEN_DRAFT,
            messaging_status="pending",
            numbers=[Number(order_id[:-1] + "0", f"+1312{number % 10_000_000:07d}")],
        )

    def _payload(self, number: int, step: Step, index: int, occurred_us: int) -> dict[str, object]:
        order = self._blank_order(number)
        order.updated_us = occurred_us
        if step.kind == "status":
            order.status, order.codes = step.value, step.codes
            return payloads.status_changed(order)
        if step.kind == "comment":
            user_type, _, body = step.value.partition("|")
            comment_id = self._ids.packed("comment", index)
            who = self._ids.named(f"commenter {user_type}")
            return payloads.new_comment(order, comment_id, body, who, user_type, occurred_us)
        if step.kind == "messaging":
            order.messaging_status = step.value
            return payloads.messaging_changed(order)
        return payloads.deleted(order, occurred_us)


def _story(number: int) -> tuple[Step, ...]:
    return STORIES[(number * 2654435761 >> 7) % len(STORIES)]
