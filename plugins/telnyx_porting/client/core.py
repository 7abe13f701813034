"""What all verbs share."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import wraps
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from telnyx_porting.client.answers import read_one, read_page
from telnyx_porting.client.checks import check_page_size, checked_uuid
from telnyx_porting.client.drift import Drift
from telnyx_porting.client.paging import Pager
from telnyx_porting.client.transport import Transport
from telnyx_porting.client.windows import Listing
from telnyx_porting.errors import EnvelopeError
from telnyx_porting.models.events import PortingEvent
from telnyx_porting.models.records import PortingOrder, WebhookDelivery

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from telnyx_porting.client.answers import Answer
    from telnyx_porting.client.transport import Options
    from telnyx_porting.client.windows import Page, Window
    from telnyx_porting.models.records import RateLimit

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C")
Thing = TypeVar("Thing", PortingEvent, PortingOrder, WebhookDelivery)

PUBLIC_API = "https://api.telnyx.com/v2"


def one_by_one(
    batches: Callable[Concatenate[C, P], AsyncGenerator[list[T], None]],
) -> Callable[Concatenate[C, P], AsyncGenerator[T, None]]:
    """Make of a verb that yields lists one that yields their rows."""

    @wraps(batches)
    async def rows(self: C, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        async with aclosing(batches(self, *args, **kwargs)) as lists:
            async for batch in lists:
                for row in batch:
                    yield row
                # What the caller has is not kept here while the next list is read.
                del batch

    return rows


def bounds(name: str, low: datetime | None, high: datetime | None) -> dict[str, str]:
    """Write a time range as Telnyx's OpenAPI spells it (deepObject, exploded); nothing for an open end."""
    ends = {f"filter[{name}][gte]": low, f"filter[{name}][lte]": high}
    return {key: at.astimezone(UTC).isoformat().replace("+00:00", "Z") for key, at in ends.items() if at is not None}


class Core:
    """What all verbs share: the way to Telnyx, and what was learned on it. Parameters: :class:`AsyncTelnyxClient`."""

    def __init__(self, api_key: str, base_url: str = PUBLIC_API, **options: Unpack[Options]) -> None:
        self._transport = Transport(api_key, base_url, **options)
        self._clock = self._transport.clock
        self._drift = Drift()
        self._whose: tuple[str | None] | None = None  # once asked
        self.base_url = self._transport.base_url
        self.key_fingerprint = hashlib.sha256(api_key.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    @property
    def rate_limit(self) -> RateLimit | None:
        """What the last answer said about the account's limit."""
        return self._transport.pacer.rate_limit

    @property
    def clock_offset(self) -> timedelta | None:
        """The provider's clock minus ours, good to about a second; None before the first answer."""
        return self._transport.clock_offset

    @property
    def requests_made(self) -> int:
        """Requests written so far, retries included."""
        return self._transport.requests_made

    # -- for the verbs -------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    async def _get_one(
        self,
        path: str,
        field: str,
        value: str,
        parse: Callable[[dict[str, Any]], Thing],
        params: Mapping[str, str] | None = None,
    ) -> Thing:
        """Read one thing; what the answer is about is looked at, as a connection may mix up its answers."""
        path = f"{path}/{checked_uuid(field, value)}"

        def read(answer: Answer) -> Thing:
            found = read_one(answer, parse)
            if found.id.lower() != value.lower():
                raise EnvelopeError("the answer is about another id", **answer.about)
            return found

        return await self._transport.get(path, params, read)

    def _listing(
        self,
        path: str,
        parse: Callable[[dict[str, Any]], T],
        page_size: int,
        filters: dict[str, str],
        *,
        id_of: Callable[[T], str] = attrgetter("id"),
        bounded_by: str = "",
        look_at: Callable[[list[T]], None] | None = None,
    ) -> Pager[T]:
        check_page_size(page_size)

        def read(answer: Answer) -> Page[T]:
            page = read_page(answer, parse)
            if look_at is not None:
                look_at(page.rows)
            return page

        async def ask(number: int, size: int, since: datetime | None, until: datetime | None) -> Page[T]:
            params = {**filters, **bounds(bounded_by, since, until)}
            params |= {"page[number]": str(number), "page[size]": str(size)}
            return await self._transport.get(path, params, read)

        time_of = attrgetter(bounded_by) if bounded_by else None
        listing = Listing(ask, id_of, time_of, page_size, self._clock, path)
        return Pager(listing, self._transport.max_concurrency)

    async def _batches(
        self, path: str, windows: AsyncGenerator[Window[T], None], unread: list[str] | None
    ) -> AsyncGenerator[list[T], None]:
        """Yield the rows of windows; others go to ``unread``, or are an error once all are given."""
        odd = [] if unread is None else unread
        async with aclosing(windows) as proved:
            async for window in proved:
                odd += window.unread
                yield window.rows
                # What the caller has is not kept here while the next window is read.
                del window
        if unread is None and odd:
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            raise EnvelopeError(f"all other rows were given, but not {odd[0]}{more}: it cannot be read", path=path)
