"""Verbs of porting orders."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from telnyx_porting.client.answers import read_page
from telnyx_porting.client.checks import MAX_PAGE_SIZE, check_number
from telnyx_porting.client.core import Core, one_by_one
from telnyx_porting.models.records import PortingOrder, parse_order

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telnyx_porting.client.answers import Answer

ORDERS_PATH = "/porting_orders"


class OrderVerbs(Core):
    """Read orders."""

    async def get_porting_order(self, porting_order_id: str) -> PortingOrder:
        """
        Fetch one order, without its numbers.

        :raises NotFoundError: when the account has no such order
        """
        params = {"include_phone_numbers": "false"}
        return await self._get_one(ORDERS_PATH, "porting_order_id", porting_order_id, parse_order, params)

    async def order_batches(
        self, page_size: int = MAX_PAGE_SIZE, limit: int | None = None, unread: list[str] | None = None
    ) -> AsyncGenerator[list[PortingOrder], None]:
        """
        Yield all orders, or the oldest few, without their numbers.

        :param page_size: 1 to 250
        :param limit: stop after this many (at most a page), without proof that the list is complete
        :param unread: takes what is wrong with each row that cannot be read; without it they are an error
        :raises IncompleteListing: instead of leaving one out
        :raises EnvelopeError: after all others, when there are rows that cannot be read
        """
        filters = {"sort[value]": "created_at", "include_phone_numbers": "false"}
        listing = self._listing(ORDERS_PATH, parse_order, page_size, filters)
        if limit is not None:
            check_number("limit", limit, 1, page_size, f"from 1 to page_size = {page_size}")
            page = await listing.first_page(page_size)
            if page.unread and len(page.rows) < limit:  # another row may do as well
                page = await listing.first_page(MAX_PAGE_SIZE)
            yield page.rows[:limit]
            return
        async with aclosing(self._batches(ORDERS_PATH, listing.windows(None, None), unread)) as batches:
            async for batch in batches:
                yield batch
                del batch

    iter_porting_orders = one_by_one(order_batches)

    async def get_user_id(self) -> str | None:
        """Fetch the Telnyx user this key belongs to, as the oldest order shows it; None without one. Asks once.

        Where that order does not say it, the others of its page are looked at.
        """
        if self._whose is None:
            users = [order.user_id async for order in self.iter_porting_orders(page_size=1, limit=1)]
            if users == [None]:
                users = [order.user_id async for order in self.iter_porting_orders(limit=MAX_PAGE_SIZE)]
            self._whose = (next(filter(None, users), None),)
        return self._whose[0]

    async def list_exception_types(self) -> dict[str, str]:
        """Fetch Telnyx's descriptions of exception codes; the set is open, the texts are for people."""

        def read(answer: Answer) -> list[tuple[object, object]]:
            return read_page(answer, lambda raw: (raw.get("code"), raw.get("description"))).rows

        pairs = await self._transport.get(f"{ORDERS_PATH}/exception_types", None, read)
        return {code: text if isinstance(text, str) else "" for code, text in pairs if isinstance(code, str)}
