"""/v2/webhook_deliveries: list, show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.routing import Route

from include.sandbox.api import pages, render
from include.sandbox.api.errors import plain
from include.sandbox.api.filters import Query, path_id

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from include.sandbox.world.model import Delivery
    from include.sandbox.world.world import World

_WEBHOOK, _ATTEMPTS = "filter[webhook][contains]", "filter[attempts][contains]"
_TIMES = {f"filter[{field}][{end}]": (field, end) for field in ("started_at", "finished_at") for end in ("gte", "lte")}
_PARAMETERS = (
    "page[number]",
    "page[size]",
    "filter[status][eq]",
    "filter[event_type]",
    _WEBHOOK,
    _ATTEMPTS,
    *_TIMES,
)


async def list_deliveries(request: Request) -> Response:
    """Answer a page of delivery records."""
    world: World = request.app.state.world
    switches = world.switches
    query = Query(request.query_params, _PARAMETERS)
    number, size = query.page(switches.page_size_over_max)
    status = query.one_of("filter[status][eq]", ("delivered", "failed"))
    types = query.text("filter[event_type]")
    wanted = {t.strip() for t in types.split(",")} if types else None
    webhook, attempts = query.text(_WEBHOOK), query.text(_ATTEMPTS)
    bounds = [(*place, us) for name, place in _TIMES.items() if (us := query.time(name)) is not None]

    def fits(one: Delivery) -> bool:
        if status is not None and (status == "delivered") != one.delivered:
            return False
        if wanted is not None and one.event_type not in wanted:
            return False
        for field, end, us in bounds:
            # records show milliseconds, so that is what they are compared by
            at = (one.started_us if field == "started_at" else one.finished_us) // 1000 * 1000
            if at < us if end == "gte" else at > us:
                return False
        return (webhook is None or _contains(world, _webhook_text(one, switches.delivery_contains), webhook)) and (
            attempts is None or _contains(world, json.dumps([a.body for a in one.attempts] + [one.url]), attempts)
        )

    found = [one for one in world.deliveries.values() if _shown(world, one) and fits(one)]
    found.sort(key=lambda one: (one.started_us, one.id), reverse=switches.delivery_order == "-started_at")

    def fetch(start: int, stop: int) -> list[object]:
        rows = (render.delivery(one, world.user_id, switches) for one in found[start:stop])
        return [world.faults.spoil(request.url.path, row) for row in rows]

    return pages.page(number, size, len(found), fetch, switches)


async def show_delivery(request: Request) -> Response:
    """Answer one delivery record."""
    world: World = request.app.state.world
    one = world.deliveries.get(path_id(request.path_params["id"], world.switches.malformed_id))
    if one is None or not _shown(world, one):
        raise plain(404, "There is no webhook delivery with this id")
    shown = render.delivery(one, world.user_id, world.switches)
    return pages.reply({"data": world.faults.spoil(request.url.path, shown)})


def _shown(world: World, one: Delivery) -> bool:
    switches = world.switches
    if switches.deliveries_cover == "no_port_ins" or not one.attempts:
        return False
    if one.trying and switches.delivery_listed == "after_last_try":
        return False
    oldest = world.oldest_delivery_us()
    return oldest is None or one.started_us >= oldest


def _webhook_text(one: Delivery, depth: str) -> str:
    said = one.webhook
    if depth == "top_level":
        said = {name: value for name, value in said.items() if not isinstance(value, dict)}
    return json.dumps(said, ensure_ascii=False)


def _contains(world: World, text: str, piece: str) -> bool:
    if world.switches.delivery_case == "insensitive":
        return piece.lower() in text.lower()
    return piece in text


routes = [
    Route("/webhook_deliveries", list_deliveries, methods=["GET"]),
    Route("/webhook_deliveries/{id}", show_delivery, methods=["GET"]),
]
