"""/v2/notification_*: who is subscribed to port-in notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from include.sandbox.api import pages
from include.sandbox.api.filters import Query
from include.sandbox.world.times import DAY, iso_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from include.sandbox.world.model import Json
    from include.sandbox.world.world import World

_PAGES = ("page[number]", "page[size]")
_STATUSES = (
    "enabled",
    "enable-received",
    "enable-pending",
    "enable-submtited",
    "delete-received",
    "delete-pending",
    "delete-submitted",
    "deleted",
)
#: filter -> values it takes (empty = any text)
_FILTERS: dict[str, tuple[str, ...]] = {
    "associated_record_type": ("account", "phone_number"),
    "channel_type_id": ("webhook", "sms", "email", "voice"),
    "notification_profile_id": (),
    "notification_channel": (),
    "notification_event_condition_id": (),
    "status": _STATUSES,
}
_FILTER_NAMES = tuple(f"filter[{name}][eq]" for name in _FILTERS)


def _events(world: World) -> list[Json]:
    other = {
        "id": world.ids.named("other notification event"),
        "name": "Emergency call",
        "notification_category": "Voice",
        "enabled": True,
    }
    port_in = {
        "id": world.ids.named("notification event"),
        "name": "Port In",
        "notification_category": "Numbers",
        "enabled": True,
    }
    return [other | _dates(world), port_in | _dates(world)]


def _conditions(world: World) -> list[Json]:
    def condition(name: str, event: str, text: str) -> Json:
        return {
            "id": world.ids.named(f"{event} condition"),
            "notification_event_id": world.ids.named(event),
            "name": name,
            "description": text,
            "associated_record_type": "account",
            "supported_channels": ["webhook", "email"],
            "allow_multiple_channels": True,
            "asynchronous": False,
            "enabled": True,
            "parameters": [],
            **_dates(world),
        }

    return [
        condition("any emergency call", "other notification event", "Account-wide emergency calls"),
        condition("any port-in order", "notification event", "Account-wide port-in changes"),
    ]


def _profiles(world: World) -> list[Json]:
    return [{"id": world.ids.named("profile"), "name": "Porting desk", **_dates(world)}]


def _channels(world: World) -> list[Json]:
    return [
        {
            "id": c.id,
            "notification_profile_id": world.ids.named("profile"),
            "channel_type_id": c.type,
            "channel_destination": c.destination,
            "created_at": iso_ms(c.created_us),
            "updated_at": iso_ms(c.created_us),
        }
        for c in world.channels
    ]


def _settings(world: World) -> list[Json]:
    return [
        {
            "id": world.ids.named(f"setting {c.id}"),
            "notification_event_condition_id": world.ids.named("notification event condition"),
            "notification_profile_id": world.ids.named("profile"),
            "notification_channel_id": c.id,
            "associated_record_type": "account",
            "associated_record_type_value": world.user_id,
            "parameters": [],
            "status": c.status,
            "created_at": iso_ms(c.created_us),
            "updated_at": iso_ms(c.created_us),
        }
        for c in world.channels
    ]


def _dates(world: World) -> Json:
    made = iso_ms(world.now_us() // DAY * DAY - 400 * DAY)
    return {"created_at": made, "updated_at": made}


def _listing(rows: Callable[[World], list[Json]], *, filtered: bool) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        world: World = request.app.state.world
        query = Query(request.query_params, _PAGES + (_FILTER_NAMES if filtered else ()))
        number, size = query.page(world.switches.page_size_over_max)
        wanted = _wanted(query) if filtered else {}
        found = [row for row in rows(world) if all(_fits(row, name, value) for name, value in wanted.items())]
        return pages.page(number, size, len(found), lambda start, stop: found[start:stop], world.switches)

    return answer


def _wanted(query: Query) -> dict[str, str]:
    """Read the filters that are asked for."""
    found = {}
    for name, values in _FILTERS.items():
        parameter = f"filter[{name}][eq]"
        value = query.one_of(parameter, values) if values else query.text(parameter)
        if value is not None:
            found[name] = value
    return found


def _fits(row: Json, name: str, value: str) -> bool:
    field = "notification_channel_id" if name == "notification_channel" else name
    # a filter on something the record does not have leaves it in
    return field not in row or row[field] == value


routes = [
    Route("/notification_settings", _listing(_settings, filtered=True), methods=["GET"]),
    Route("/notification_channels", _listing(_channels, filtered=True), methods=["GET"]),
    Route("/notification_event_conditions", _listing(_conditions, filtered=True), methods=["GET"]),
    Route("/notification_events", _listing(_events, filtered=False), methods=["GET"]),
    Route("/notification_profiles", _listing(_profiles, filtered=False), methods=["GET"]),
]
