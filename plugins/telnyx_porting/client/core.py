"""What all verbs share."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from telnyx_porting.client.answers import read_one, read_page
from telnyx_porting.client.checks import check_page_size, checked_uuid
from telnyx_porting.client.clock import SYSTEM_CLOCK, Clock
from telnyx_porting.client.drift import Drift
from telnyx_porting.client.paging import Pager
from telnyx_porting.client.queries import bounds
from telnyx_porting.client.transport import Transport
from telnyx_porting.errors import EnvelopeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    import httpx

    from telnyx_porting.client.answers import Answer
    from telnyx_porting.client.windows import Page
    from telnyx_porting.models import RateLimit

T = TypeVar("T")

PUBLIC_API = "https://api.telnyx.com/v2"


class Core:
    """What all verbs share: the way to Telnyx, and what was learned on it. Parameters: :class:`AsyncTelnyxClient`."""

    def __init__(
        self,
        api_key: str,
        base_url: str = PUBLIC_API,
        *,
        timeout: float = 30.0,
        max_concurrency: int = 8,
        requests_per_second: float | None = None,
        keep_free: float = 0.0,
        allow_insecure_http: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._transport = Transport(
            api_key,
            base_url,
            timeout=timeout,
            max_concurrency=max_concurrency,
            requests_per_second=requests_per_second,
            keep_free=keep_free,
            allow_insecure_http=allow_insecure_http,
            transport=transport,
            clock=clock,
        )
        self._clock = clock
        self._drift = Drift()
        self._whose: tuple[str | None] | None = None  # once asked
        self.base_url = self._transport.base_url
        self.key_fingerprint = hashlib.sha256(api_key.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        parse: Callable[[dict[str, Any]], T],
        params: Mapping[str, str] | None = None,
    ) -> T:
        path = f"{path}/{checked_uuid(field, value)}"
        return await self._transport.get(path, params, lambda answer: read_one(answer, parse))

    def _listing(
        self,
        path: str,
        parse: Callable[[dict[str, Any]], T],
        page_size: int,
        filters: dict[str, str],
        *,
        id_of: Callable[[T], str],
        time_of: Callable[[T], datetime | None] | None = None,
        bounded_by: str = "",
        look_at: Callable[[list[T]], None] | None = None,
    ) -> Pager[T]:
        check_page_size(page_size)

        def read(answer: Answer) -> Page[T]:
            page = read_page(answer, parse)
            if look_at is not None:
                look_at(page.rows)
            return page

        ask = partial(self._ask, path, read, filters, bounded_by)
        return Pager(
            ask,
            id_of=id_of,
            time_of=time_of,
            page_size=page_size,
            lanes=self._transport.lanes.number,
            clock=self._clock,
            path=path,
        )

    @staticmethod
    def _say_unread(path: str, found: Iterable[str], unread: list[str] | None) -> None:
        """Hand over what is wrong with rows that could not be read; or say it in an error, once all others are given.

        :raises EnvelopeError: naming the first of them
        """
        rows = list(found)
        if unread is not None:
            unread += rows
        elif rows:
            more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
            raise EnvelopeError(f"all other rows were given, but not {rows[0]}{more}: it cannot be read", path=path)

    async def _ask(
        self,
        path: str,
        read: Callable[[Answer], Page[T]],
        filters: dict[str, str],
        bounded_by: str,
        number: int,
        size: int,
        since: datetime | None,
        until: datetime | None,
        rank: float,
    ) -> Page[T]:
        params = {**filters, **bounds(bounded_by, since, until)}
        params |= {"page[number]": str(number), "page[size]": str(size)}
        return await self._transport.get(path, params, read, rank=rank)
