"""A provider's list with every freedom the documentation leaves it, behind an httpx transport, and a client of it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson

from telnyx_porting.client import AsyncTelnyxClient, Clock, ProvedWindow

START = datetime(2026, 9, 1, tzinfo=UTC)
NOW = START + timedelta(days=60)


class StillClock(Clock):
    """Time stands still until somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def event(number: int, at: datetime | None, **fields: Any) -> dict[str, Any]:
    row = {
        "id": f"{number:08x}-0000-4000-8000-000000000000",
        "event_type": "porting_order.loa_updated",
        "porting_order_id": "f6fadfa7-e5c1-4b62-9362-da5cc13da58a",
        "available_notification_methods": ["email"],
        "payload_status": "completed",
        "payload": None,
        "record_type": "porting_event",
    }
    if at is not None:
        row["created_at"] = at.isoformat().replace("+00:00", "Z")
    return row | fields


@dataclass
class Mirror:
    """
    A list and its habits.

    :param rows: ``(recorded at, row as written)``
    :param order: newest, oldest, shuffled (stable) or restless (ties and all change with every answer)
    :param bounds: inclusive, exclusive, seconds (both sides cut), or ignored
    :param biggest_page: page sizes above are cut to this
    :param fixed_page: every page has this size whatever is asked for
    :param meta: which of the four fields are sent
    :param cap: totals above are said to be this
    :param hard_cap: and rows beyond are not given
    :param past_end: empty, or refused with 422
    :param repeats: rows that are written twice on their page
    :param repeats_count: and both times are in the total
    :param arrivals: request number -> rows that appear before that request is answered
    """

    rows: list[tuple[datetime, dict[str, Any]]]
    order: str = "newest"
    bounds: str = "inclusive"
    biggest_page: int = 250
    fixed_page: int | None = None
    meta: frozenset[str] = frozenset({"page_number", "page_size", "total_pages", "total_results"})
    cap: int | None = None
    hard_cap: bool = False
    past_end: str = "empty"
    repeats: frozenset[str] = frozenset()
    repeats_count: bool = False
    arrivals: dict[int, list[tuple[datetime, dict[str, Any]]]] = field(default_factory=dict)
    seed: int = 0
    requests: list[httpx.URL] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._places: dict[str, float] = {}

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request.url)
        assert len(self.requests) < 5_000, "asked without end"
        self.rows.extend(self.arrivals.pop(len(self.requests), []))
        params = request.url.params
        found = self._sorted([item for item in self.rows if self._within(item[0], params)])
        total = len(found) + self.repeats_count * sum(row["id"] in self.repeats for _, row in found)
        if self.cap is not None and total > self.cap:
            total = self.cap
            if self.hard_cap:
                found = found[: self.cap]
        size = self.fixed_page or min(int(params["page[size]"]), self.biggest_page)
        number = int(params["page[number]"])
        page = [row for _, row in found[(number - 1) * size : number * size]]
        if not page and number > 1 and self.past_end == "refused":
            return httpx.Response(422, json={"errors": [{"code": "10033", "title": "out of range"}]})
        page += [row for row in page if row["id"] in self.repeats]
        meta = {
            "page_number": number,
            "page_size": size,
            "total_pages": -(-len(found) // size),
            "total_results": total,
        }
        body = {"data": page, "meta": {name: meta[name] for name in self.meta}}
        return httpx.Response(200, content=orjson.dumps(body), headers={"date": "Sat, 31 Oct 2026 00:00:00 GMT"})

    def _within(self, at: datetime, params: httpx.QueryParams) -> bool:
        if self.bounds == "ignored":
            return True
        low, high = params.get("filter[created_at][gte]"), params.get("filter[created_at][lte]")
        since = datetime.fromisoformat(low) if low else datetime.min.replace(tzinfo=UTC)
        until = datetime.fromisoformat(high) if high else datetime.max.replace(tzinfo=UTC)
        if self.bounds == "exclusive":
            return since < at < until
        if self.bounds == "seconds":
            at, since, until = (moment.replace(microsecond=0) for moment in (at, since, until))
        return since <= at <= until

    def _sorted(self, items: list[tuple[datetime, dict[str, Any]]]) -> list[tuple[datetime, dict[str, Any]]]:
        if self.order == "restless":
            return self._random.sample(items, len(items))
        for _, row in items:
            self._places.setdefault(row["id"], self._random.random())
        if self.order == "shuffled":
            return sorted(items, key=lambda item: self._places[item[1]["id"]])
        # Ties keep one order among themselves, whichever it is.
        items = sorted(items, key=lambda item: self._places[item[1]["id"]])
        return sorted(items, key=lambda item: item[0], reverse=self.order == "newest")


def read(
    mirror: Mirror, since: datetime | None = None, until: datetime | None = None, page_size: int = 250, **options: Any
) -> list[ProvedWindow]:
    """Read a whole listing in a loop of its own."""

    async def run() -> list[ProvedWindow]:
        async with AsyncTelnyxClient(
            "KEY", "https://api.example.test/v2", transport=mirror.transport(), clock=StillClock(), **options
        ) as client:
            return [window async for window in client.iter_proved_windows(since, until, page_size=page_size)]

    return asyncio.run(run())


def ids(windows: list[ProvedWindow]) -> list[str]:
    return [row.id for window in windows for row in window.rows]


def spread(count: int, step: timedelta = timedelta(hours=1)) -> list[tuple[datetime, dict[str, Any]]]:
    return [(START + step * n, event(n, START + step * n)) for n in range(count)]
