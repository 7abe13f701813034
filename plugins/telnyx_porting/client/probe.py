"""Verbs that ask how Telnyx's lists behave where its documentation is silent: a few pages, which prove nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from telnyx_porting.client.answers import read_page
from telnyx_porting.client.checks import MAX_PAGE_SIZE
from telnyx_porting.client.core import Core, bounds
from telnyx_porting.client.deliveries import DELIVERIES_PATH
from telnyx_porting.client.events import EVENTS_PATH
from telnyx_porting.client.orders import ORDERS_PATH
from telnyx_porting.errors import InvalidRequestError, NotFoundError
from telnyx_porting.models.events import parse_event
from telnyx_porting.models.keys import WEBHOOK_TYPES
from telnyx_porting.models.records import parse_delivery, parse_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from telnyx_porting.client.windows import Page


class Listed(StrEnum):
    """The lists that can be asked."""

    EVENTS = "events"
    ORDERS = "orders"
    DELIVERIES = "deliveries"


class Order(StrEnum):
    """How the rows of a list follow each other."""

    OLDEST_FIRST = "oldest first"
    NEWEST_FIRST = "newest first"
    NEITHER = "in no order of time"


@dataclass(frozen=True, slots=True)
class Habits:
    """
    What two or three pages of a list show.

    :param total: how many rows it counts, all time; None: it does not say
    :param order: None: too few rows to tell
    :param oldest: the earliest time on these pages; the list reaches back at least so far
    :param page: rows that came where 250 were asked for; None: the list is shorter
    :param refuses_more: whether asking for 251 is refused
    :param page_of_more: the size of page it names where it is not refused; None: it names none
    """

    total: int | None
    order: Order | None
    oldest: datetime | None
    page: int | None
    refuses_more: bool
    page_of_more: int | None


class _List(NamedTuple):
    path: str
    parse: Callable[[dict[str, Any]], Any]
    time: str
    filters: dict[str, str]


_TYPES = {"filter[event_type]": ",".join(sorted(WEBHOOK_TYPES))}
_LISTS = {
    Listed.EVENTS: _List(EVENTS_PATH, parse_event, "created_at", {}),
    Listed.ORDERS: _List(ORDERS_PATH, parse_order, "created_at", {"include_phone_numbers": "false"}),
    Listed.DELIVERIES: _List(DELIVERIES_PATH, parse_delivery, "finished_at", _TYPES),
}


class ProbeVerbs(Core):
    """Look at lists as a whole."""

    async def count_rows(self, listed: Listed, since: datetime | None = None) -> int | None:
        """Fetch how many rows a list counts, by one request; None where it does not say.

        :param since: only those from then on; not of orders, which no time bounds.
        """
        asked = _LISTS[listed]
        return (await self._page(asked, 1, 1, bounds(asked.time, since, None))).total

    async def probe(self, listed: Listed) -> Habits:
        """Look at the first and the last page of a list, and ask for a larger page than is published: 3 requests."""
        asked = _LISTS[listed]
        first = await self._page(asked, 1, MAX_PAGE_SIZE)
        size = len(first.rows) + len(first.unread)
        rows = first.rows
        shorter = first.total is None or first.total <= size
        if size and not shorter:
            rows = [*rows, *await self._last_rows(asked, -(-(first.total or 0) // size))]
        times = [at for at in map(attrgetter(asked.time), rows) if at is not None]
        try:
            more = await self._page(asked, 1, MAX_PAGE_SIZE + 1)
        except InvalidRequestError:
            more = None
        return Habits(
            first.total,
            _order(times),
            min(times, default=None),
            None if shorter else size,
            more is None,
            more.size if more is not None else None,
        )

    async def _last_rows(self, asked: _List, number: int) -> list[Any]:
        try:
            return (await self._page(asked, number, MAX_PAGE_SIZE)).rows
        except (InvalidRequestError, NotFoundError):  # so deep it does not go
            return []

    async def _page(self, asked: _List, number: int, size: int, more: dict[str, str] | None = None) -> Page[Any]:
        params = {**asked.filters, **(more or {}), "page[number]": str(number), "page[size]": str(size)}
        return await self._transport.get(asked.path, params, lambda answer: read_page(answer, asked.parse))


def _order(times: Sequence[datetime]) -> Order | None:
    if len(set(times)) < 2:
        return None
    if all(one <= other for one, other in pairwise(times)):
        return Order.OLDEST_FIRST
    return Order.NEWEST_FIRST if all(one >= other for one, other in pairwise(times)) else Order.NEITHER
