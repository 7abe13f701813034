"""Pages of a list and what a list says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from include.sandbox.api.errors import bad_filter
from include.sandbox.world import jsons

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from include.sandbox.world.switches import Switches


def reply(document: Any) -> Response:
    """Answer JSON."""
    return Response(jsons.dumps(document), media_type="application/json")


def page(
    number: int, size: int, total: int, fetch: Callable[[int, int], Sequence[Any]], switches: Switches
) -> Response:
    """Answer one page.

    :param fetch: gives the rendered items from a position up to another.
    """
    if number > 1 and (number - 1) * size >= total and switches.page_past_end == "refused":
        raise bad_filter("page[number]", f"{number} is behind the last page", "10033", "Value outside of range")
    items = fetch((number - 1) * size, min(number * size, total))
    said = total if switches.totals_cap is None else min(total, int(switches.totals_cap))
    meta = {
        "page_number": number,
        "page_size": size,
        "total_pages": -(-said // size),
        "total_results": said,
    }
    if switches.list_meta == "absent":
        return reply({"data": items})
    if switches.list_meta == "no_totals":
        del meta["total_pages"], meta["total_results"]
    return reply({"data": items, "meta": meta})
