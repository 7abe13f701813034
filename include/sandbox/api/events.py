"""/v2/porting/events: list, show, republish."""

from __future__ import annotations

import random
from itertools import groupby
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from include.sandbox.api import pages, render
from include.sandbox.api.errors import plain
from include.sandbox.api.filters import Query, path_id
from include.sandbox.world import catalog, lifecycle
from include.sandbox.world.timeline import Selection, View
from include.sandbox.world.times import SECOND

if TYPE_CHECKING:
    from starlette.requests import Request

    from include.sandbox.world.model import Event
    from include.sandbox.world.world import World

_SINCE, _UNTIL = "filter[created_at][gte]", "filter[created_at][lte]"
_PARAMETERS = ("page[number]", "page[size]", "filter[type]", "filter[porting_order_id]", _SINCE, _UNTIL)


async def list_events(request: Request) -> Response:
    """Answer a page of events."""
    world: World = request.app.state.world
    switches = world.switches
    query = Query(request.query_params, _PARAMETERS)
    number, size = query.page(switches.page_size_over_max)
    want = Selection(
        event_type=query.one_of("filter[type]", catalog.EVENT_TYPES), order_id=query.uuid("filter[porting_order_id]")
    )
    want.since_us, want.until_us = _bounds(query.time(_SINCE), query.time(_UNTIL), switches.created_at_bounds)
    oldest = world.oldest_event_us()
    if oldest is not None:
        want.since_us = max(want.since_us or oldest, oldest)
    view = world.timeline.view(want)
    total = len(view)

    def fetch(start: int, stop: int) -> list[object]:
        if switches.event_order == "-created_at":
            start, stop = total - stop, total - start
        found = view.slice(start, stop)
        if switches.tie_order == "unstable":
            found = _shuffle_ties(view, found, start)
        if switches.event_order == "-created_at":
            found.reverse()
        return [world.faults.spoil(request.url.path, render.event(one, switches)) for one in found]

    answer = pages.page(number, size, total, fetch, switches)
    if switches.list_growth != "off":
        _grow(world, view.slice((number - 1) * size, (number - 1) * size + 1))
    return answer


async def show_event(request: Request) -> Response:
    """Answer one event."""
    world: World = request.app.state.world
    shown = render.event(_find(world, request), world.switches)
    return pages.reply({"data": world.faults.spoil(request.url.path, shown)})


async def republish_event(request: Request) -> Response:
    """Send an event's notification again; 204 says that this was accepted, nothing more."""
    world: World = request.app.state.world
    switches = world.switches
    event = _find(world, request)
    if not event.completed:
        if switches.republish_unfinished == "refused":
            raise plain(422, "The payload of this event has not been generated")
        if switches.republish_unfinished == "completes":
            world.complete(event)
        world.notice(event.id).republished += 1
        return Response(status_code=204)
    nobody = not world.webhook_urls(event, republish=True) and not world.mail_addresses()
    if nobody and switches.republish_unsubscribed == "refused":
        raise plain(422, "Nobody is subscribed to this notification")
    world.notice(event.id).republished += 1
    if switches.republish_touches_event == "yes":
        event.updated_us = world.now_us()
    lost = event.id in world.undeliverable or world.faults.for_event("republish_lost", event)
    if not lost:
        world.notify(event, True)
    return Response(status_code=204)


def _find(world: World, request: Request) -> Event:
    event = world.find_event(path_id(request.path_params["id"], world.switches.malformed_id))
    if event is None:
        raise plain(404, "There is no porting event with this id")
    return event


def _grow(world: World, first_of_page: list[Event]) -> None:
    """Make an event; where rows turn up late, one that belongs before the page just read."""
    order = next(iter(world.orders_between(0, 1)), None) or lifecycle.create_order(world)
    event = lifecycle.comment(world, order, "Something new.", user_type="system")
    if world.switches.list_growth == "behind" and first_of_page:
        world.timeline.remove(event.id)
        event.created_us = first_of_page[0].created_us - 1
        world.timeline.add(event)


def _bounds(since: int | None, until: int | None, how: str) -> tuple[int | None, int | None]:
    """Turn what was asked for into bounds with both ends included."""
    if how == "exclusive":
        since = None if since is None else since + 1
        until = None if until is None else until - 1
    elif how == "truncated":
        since = None if since is None else since // SECOND * SECOND
        until = None if until is None else until // SECOND * SECOND + SECOND - 1
    return since, until


def _shuffle_ties(view: View, found: list[Event], start: int) -> list[Event]:
    """Reorder events created at the same time, also across the edges of the page."""
    if not found:
        return found
    low, high = start, start + len(found)
    first, last = found[0].created_us, found[-1].created_us
    while low > 0 and view.slice(low - 1, low)[0].created_us == first:
        low -= 1
    while high < len(view) and view.slice(high, high + 1)[0].created_us == last:
        high += 1
    mixed: list[Event] = []
    for _, group in groupby(view.slice(low, high), key=lambda e: e.created_us):
        ties = list(group)
        random.shuffle(ties)
        mixed += ties
    return mixed[start - low : start - low + len(found)]


routes = [
    Route("/porting/events", list_events, methods=["GET"]),
    Route("/porting/events/{id}", show_event, methods=["GET"]),
    Route("/porting/events/{id}/republish", republish_event, methods=["POST"]),
]
