"""/v2/porting_orders: list, show, exception types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from include.sandbox.api import pages, render
from include.sandbox.api.errors import plain
from include.sandbox.api.filters import Query, path_id
from include.sandbox.world import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from include.sandbox.world.model import Order
    from include.sandbox.world.world import World

_PAGES = ("page[number]", "page[size]", "sort[value]")
_FOC = "activation_settings.foc_datetime_requested"
#: dotted name -> what is compared; a list matches when one of its members does
_TEXTS: dict[str, Callable[[Order], str | None]] = {
    "customer_reference": lambda o: o.customer_reference,
    "customer_group_reference": lambda o: o.customer_group_reference,
    "parent_support_key": lambda o: o.parent_support_key,
    "phone_numbers.country_code": lambda o: o.country_code,
    "phone_numbers.carrier_name": lambda o: o.carrier_name,
    "misc.type": lambda o: o.port_type,
    "end_user.admin.entity_name": lambda o: o.entity_name,
    "end_user.admin.auth_person_name": lambda o: o.auth_person_name,
}
_FAST = "activation_settings.fast_port_eligible"
_NUMBER = "phone_numbers.phone_number"


async def list_orders(request: Request) -> Response:
    """Answer a page of orders, newest first unless asked otherwise."""
    world: World = request.app.state.world
    form = world.switches.order_filters
    names = {dotted: _name(dotted, form) for dotted in (*_TEXTS, _FAST)}
    bounds = {end: f"{_name(_FOC, form)}[{end}]" for end in ("gt", "lt")}
    contains = f"{_name(_NUMBER, form)}[contains]"
    query = Query(request.query_params, (*_PAGES, *names.values(), *bounds.values(), contains))
    number, size = query.page(world.switches.page_size_over_max)
    query.one_of(names["misc.type"], ("full", "partial"))
    tests = _tests(query, names, bounds, contains)
    sort = query.one_of("sort[value]", ("created_at", "-created_at", _FOC, f"-{_FOC}")) or "-created_at"
    with_numbers = query.flag("include_phone_numbers", True)
    if not tests and sort.endswith("created_at"):
        return _by_creation(request, number, size, sort, with_numbers)
    found = [o for o in world.orders() if all(test(o) for test in tests)]
    found.sort(key=lambda o: (o.created_us if sort.endswith("created_at") else o.foc_requested_us or 0, o.seq))
    if sort.startswith("-"):
        found.reverse()

    def fetch(start: int, stop: int) -> list[object]:
        return _shown(request, found[start:stop], with_numbers)

    return pages.page(number, size, len(found), fetch, world.switches)


async def show_order(request: Request) -> Response:
    """Answer one order."""
    world: World = request.app.state.world
    order = world.find_order(path_id(request.path_params["id"], world.switches.malformed_id))
    if order is None:
        raise plain(404, "There is no porting order with this id")
    with_numbers = Query(request.query_params, ()).flag("include_phone_numbers", True)
    url = f"{request.base_url}v2/porting_phone_numbers?filter[porting_order_id]={order.id}"
    (shown,) = _shown(request, [order], with_numbers)
    return pages.reply({"data": shown, "meta": {"phone_numbers_url": url}})


async def exception_types(request: Request) -> Response:
    """Answer all exception codes."""
    world: World = request.app.state.world
    codes = list(catalog.EXCEPTION_CODES)
    if world.switches.unknown_values == "some":
        codes.append(catalog.UNLISTED_CODE)
    return pages.reply({"data": catalog.details(codes)})


def _shown(request: Request, orders: Iterable[Order], with_numbers: bool) -> list[object]:
    world: World = request.app.state.world
    rows = (render.order(o, world.user_id, with_numbers=with_numbers) for o in orders)
    return [world.faults.spoil(request.url.path, row) for row in rows]


def _by_creation(request: Request, number: int, size: int, sort: str, with_numbers: bool) -> Response:
    world: World = request.app.state.world

    def fetch(start: int, stop: int) -> list[object]:
        total = world.order_count()
        if sort.startswith("-"):
            found = world.orders_between(total - stop, total - start)[::-1]
        else:
            found = world.orders_between(start, stop)
        return _shown(request, found, with_numbers)

    return pages.page(number, size, world.order_count(), fetch, world.switches)


def _tests(query: Query, names: dict[str, str], bounds: dict[str, str], contains: str) -> list[Callable[[Order], bool]]:
    tests: list[Callable[[Order], bool]] = []
    for dotted, read in _TEXTS.items():
        if (wanted := query.text(names[dotted])) is not None:
            tests.append(lambda o, read=read, wanted=wanted: read(o) == wanted)  # type: ignore[misc]
    if query.text(names[_FAST]) is not None:
        fast = query.flag(names[_FAST], True)
        tests.append(lambda o: o.fast_port_eligible == fast)
    if (piece := query.text(contains)) is not None:
        tests.append(lambda o: any(piece in n.phone_number for n in o.numbers))
    if (after := query.time(bounds["gt"])) is not None:
        tests.append(lambda o: o.foc_requested_us is not None and o.foc_requested_us > after)
    if (before := query.time(bounds["lt"])) is not None:
        tests.append(lambda o: o.foc_requested_us is not None and o.foc_requested_us < before)
    return tests


def _name(dotted: str, form: str) -> str:
    if form == "dotted":
        return f"filter[{dotted}]"
    return "filter" + "".join(f"[{part}]" for part in dotted.split("."))


routes = [
    Route("/porting_orders", list_orders, methods=["GET"]),
    Route("/porting_orders/exception_types", exception_types, methods=["GET"]),
    Route("/porting_orders/{id}", show_order, methods=["GET"]),
]
