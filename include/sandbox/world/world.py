"""The state of the simulated provider, and the rules by which events come to be, complete and are notified.

Everything here runs in one thread, the server's event loop. Truth is read from here and nowhere else.
"""

from __future__ import annotations

import heapq
import itertools
from array import array
from bisect import insort
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from include.sandbox.world import catalog
from include.sandbox.world.archive import Archive
from include.sandbox.world.clock import WorldClock
from include.sandbox.world.faults import Faults
from include.sandbox.world.ids import Ids
from include.sandbox.world.model import Channel, Delivery, Event, Fate, Json, Notice, Order
from include.sandbox.world.switches import Switches
from include.sandbox.world.timeline import Timeline
from include.sandbox.world.times import SECOND

#: Called with an event whose payload has just been generated or is to be sent again.
Notify = Callable[[Event, bool], None]


class World:
    """One account at the provider."""

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed
        self.ids = Ids(seed)
        self.clock = WorldClock()
        self.switches = Switches()
        self.faults = Faults(seed)
        self.user_id = self.ids.named("user")
        self.organization_id = self.ids.named("organization")
        self.signing_key = Ed25519PrivateKey.from_private_bytes(self.ids.digest("signing key", 32))
        self.archive = Archive(self.ids, 0, self.clock.now_us())
        self.timeline = Timeline(self.archive)
        self.channels: list[Channel] = []
        self.deliveries: dict[str, Delivery] = {}
        self.notices: dict[str, Notice] = {}
        self.mails: list[Json] = []
        self.undeliverable: set[str] = set()
        """Events whose republish is accepted and never sent."""
        self.phase = "ready"
        self.go_live: Callable[[str, float], None] | None = None
        """Starts the live phase of a scenario that has one: webhook URL, seconds."""
        self.notify: Notify = lambda event, republish: None
        self.on_schedule: Callable[[], object] = lambda: None
        self._orders: dict[str, Order] = {}
        self._order_index: list[tuple[int, int, str]] = []
        self._computed_orders: array[int] = array("I")
        self._deleted: set[str] = set()
        self._agenda: list[tuple[int, int, Callable[[], object]]] = []
        self._sequence = itertools.count(1_000_000_000)
        self._moment_us: int | None = None

    # time

    def now_us(self) -> int:
        """Give the time in the world; inside a scheduled action, the time it was scheduled for."""
        return self.clock.now_us() if self._moment_us is None else self._moment_us

    def at(self, us: int, action: Callable[[], object]) -> None:
        """Do something when the world gets there; the past is done at the next occasion."""
        heapq.heappush(self._agenda, (us, next(self._sequence), action))
        self.on_schedule()

    def run_due(self, until_us: int | None = None) -> None:
        """Do what is due now.

        :param until_us: pretend the clock shows this; used to live through a history at once.
        """
        limit = self.clock.now_us() if until_us is None else until_us
        outer = self._moment_us
        while self._agenda and self._agenda[0][0] <= limit:
            due, _, action = heapq.heappop(self._agenda)
            self._moment_us = due
            try:
                action()
            finally:
                self._moment_us = outer

    @property
    def next_due_us(self) -> int | None:
        """Give the time of the next scheduled action."""
        return self._agenda[0][0] if self._agenda else None

    @property
    def scheduled(self) -> int:
        """Count the scheduled actions."""
        return len(self._agenda)

    def next_sequence(self) -> int:
        """Give the next number of insertion."""
        return next(self._sequence)

    # orders

    def use_archive(self, archive: Archive) -> None:
        """Put a computed history behind everything made from now on."""
        self.archive = archive
        self.timeline = Timeline(archive)
        self._computed_orders = archive.orders_left()

    def add_order(self, order: Order) -> None:
        """Take in a new order."""
        self._orders[order.id] = order
        insort(self._order_index, (order.created_us, order.seq, order.id))

    def find_order(self, order_id: str) -> Order | None:
        """Find an order that has not been deleted."""
        order_id = order_id.lower()
        if order_id in self._deleted:
            return None
        return self._orders.get(order_id) or self.archive.find_order(order_id)

    def own_order(self, order: Order) -> Order:
        """Keep an order whose state is about to change (a computed one becomes a stored one)."""
        return self._orders.setdefault(order.id, order)

    def drop_order(self, order: Order) -> None:
        """Delete an order; its events stay."""
        self._deleted.add(order.id)
        place = (order.created_us, order.seq, order.id)
        if place in self._order_index:
            self._order_index.remove(place)
        elif order.seq in self._computed_orders:
            self._computed_orders.remove(order.seq)

    def order_count(self) -> int:
        """Count the orders that have not been deleted."""
        return len(self._computed_orders) + len(self._order_index)

    def orders_between(self, start: int, stop: int) -> list[Order]:
        """Give the orders at some positions, oldest first; computed ones come before stored ones."""
        computed = len(self._computed_orders)
        found = []
        for number in self._computed_orders[max(start, 0) : max(min(stop, computed), 0)]:
            order = self.archive.order(number)
            found.append(self._orders.get(order.id, order))
        places = self._order_index[max(start - computed, 0) : max(stop - computed, 0)]
        return found + [self._orders[order_id] for _, _, order_id in places]

    def orders(self) -> Iterator[Order]:
        """Give every order that has not been deleted, oldest first."""
        for start in range(0, self.order_count(), 1000):
            yield from self.orders_between(start, start + 1000)

    # events

    def emit(
        self,
        event_type: str,
        order_id: str,
        payload: Json | None,
        *,
        occurred_us: int | None = None,
        complete_after_s: float | None = None,
        never_completes: bool = False,
        fate: Fate | None = None,
    ) -> Event:
        """Record that something happened to an order; payload and notification follow later.

        :param complete_after_s: seconds until the payload is generated; None = as the switch says.
        :param fate: what happens to its webhooks; None = as the faults say.
        """
        now = self.now_us()
        event = Event(
            id=self.ids.fresh("event"),
            type=event_type,
            order_id=order_id,
            occurred_us=now if occurred_us is None else occurred_us,
            created_us=now,
            updated_us=now,
            completed=False,
            payload=payload,
            seq=self.next_sequence(),
            fate=fate,
        )
        if late := self.faults.for_event("late_row", event):
            self.at(now + int(late.seconds * SECOND), lambda: self.timeline.add(event))
        else:
            self.timeline.add(event)
        position = self.switches.completion
        if never_completes or position == "never" or self.faults.for_event("stuck", event):
            return event
        if complete_after_s is None:
            complete_after_s = 0.0 if position == "at_once" else 1 + self.ids.number(event.id, 3000) / 1000
        if complete_after_s <= 0:
            self.complete(event)
        else:
            self.at(now + int(complete_after_s * SECOND), lambda: self.complete(event))
        return event

    def complete(self, event: Event) -> None:
        """Generate the payload of an event and send its notification."""
        if event.completed:
            return
        event.completed = True
        event.updated_us = event.completed_us = self.now_us()
        self.notify(event, False)

    def find_event(self, event_id: str) -> Event | None:
        """Find an event the API still shows."""
        event = self.timeline.find(event_id)
        if event is None or event.created_us < (self.oldest_event_us() or event.created_us):
            return None
        return event

    def oldest_event_us(self) -> int | None:
        """Give the time before which events are gone."""
        return self._horizon(self.switches.event_retention_days)

    def oldest_delivery_us(self) -> int | None:
        """Give the time before which deliveries are gone."""
        return self._horizon(self.switches.delivery_retention_days)

    def notice(self, event_id: str) -> Notice:
        """Give the account of what became of an event's notifications."""
        return self.notices.setdefault(event_id, Notice())

    # subscriptions

    def subscribe(self, webhooks: list[str], emails: list[str], status: str = "enabled") -> None:
        """Replace the account's channels."""
        wanted = [("webhook", url) for url in webhooks] + [("email", address) for address in emails]
        kept = {(c.type, c.destination): c for c in self.channels}
        now = self.now_us()
        self.channels = []
        for channel_type, destination in wanted:
            channel = kept.get((channel_type, destination)) or Channel(
                id=self.ids.fresh("channel"), type=channel_type, destination=destination, created_us=now
            )
            channel.status = status
            self.channels.append(channel)

    def webhook_urls(self, event: Event, *, republish: bool) -> list[str]:
        """List the URLs an event's webhooks go to now."""
        if not catalog.supports_webhook(event.type):
            return []
        account = [c.destination for c in self.channels if c.type == "webhook" and c.status == "enabled"]
        order = self._orders.get(event.order_id) or self.find_order(event.order_id)
        own = order.webhook_url if order else None
        if own is None or (republish and self.switches.republish_order_url == "ignored"):
            return account
        if self.switches.order_url == "instead_of_channels":
            return [own]
        return [own, *(url for url in account if url != own)]

    def mail_addresses(self) -> list[str]:
        """List the subscribed mail addresses."""
        return [c.destination for c in self.channels if c.type == "email" and c.status == "enabled"]

    def _horizon(self, days: float | None) -> int | None:
        return None if days is None else self.now_us() - int(days * 86400 * SECOND)
