"""/sandbox/orders, /sandbox/events: make things happen in the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.routing import Route

from include.sandbox.control.body import BadBody, Body, answer
from include.sandbox.world import catalog, lifecycle, payloads, stories
from include.sandbox.world.model import Event, Fate, Json, Order
from include.sandbox.world.times import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from include.sandbox.simulator import Simulator
    from include.sandbox.world.world import World

_EMIT = ("complete_after", "never_completes", "fate")
_ORDER_TEXTS = (
    "status",
    "customer_reference",
    "customer_group_reference",
    "support_key",
    "parent_support_key",
    "webhook_url",
    "entity_name",
    "auth_person_name",
    "country_code",
    "carrier_name",
    "phone_number_type",
    "port_type",
    "messaging_status",
)


async def make_orders(request: Request) -> Response:
    """Make one order, or several alike; ``story`` lets them live by themselves."""
    world = _world(request)
    body = await Body.read(request, "count", "numbers", "story", "pace_seconds", "codes", *_ORDER_TEXTS)
    count = int(body.number("count") or 1)
    fields: Json = {name: value for name in _ORDER_TEXTS if (value := body.text(name)) is not None}
    if body.has("codes"):
        fields["codes"] = tuple(body.texts("codes"))
    story = body.text("story")
    if story is not None and story not in _STORIES:
        raise BadBody(f"story: {story!r} is none of {', '.join(_STORIES)}")
    made = []
    for _ in range(count):
        order = lifecycle.create_order(world, numbers=int(body.number("numbers") or 1), **fields)
        if story:
            lifecycle.live(world, order, _STORIES[story], body.number("pace_seconds") or 60.0)
        made.append(_order(order))
    return answer(made[0] if not body.has("count") else made, 201)


async def act(request: Request) -> Response:
    """Let something happen to an order."""
    world = _world(request)
    order = world.find_order(request.path_params["id"])
    if order is None:
        raise HTTPException(404, "there is no such order")
    action = request.path_params["action"]
    if action not in _ACTIONS:
        raise HTTPException(404, f"action {action!r} is none of {', '.join(_ACTIONS)}")
    body = await Body.read(
        request, "value", "codes", "foc", "force", "body", "user_type", "user_id", "numbers", "webhook_url", *_EMIT
    )
    events = _ACTIONS[action](world, order, body, _emit_arguments(body))
    return answer({"events": [_event(world, e) for e in events], "order_id": order.id}, 201)


async def insert_events(request: Request) -> Response:
    """Put rows into the event list as they are given: any time, any type, complete or not."""
    world = _world(request)
    body = await Body.read(request, "events")
    rows = body.all().get("events")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadBody("events: a list of objects is needed")
    made = [_insert(world, Body(row, _ROW)) for row in rows]
    return answer([_event(world, e) for e in made], 201)


async def burst(request: Request) -> Response:
    """Let many comments be written now, spread over the orders there are."""
    world = _world(request)
    body = await Body.read(request, "events", *_EMIT)
    count = world.order_count()
    orders = world.orders_between(count - 200, count) or [lifecycle.create_order(world)]
    emit = _emit_arguments(body)
    made = [
        lifecycle.comment(world, orders[n % len(orders)], f"Note {n + 1}.", **emit)
        for n in range(int(body.number("events") or 1))
    ]
    return answer({"events": [e.id for e in made]}, 201)


async def one_event(request: Request) -> Response:
    """Show what became of an event, complete it, or make it vanish."""
    world = _world(request)
    event_id = request.path_params["id"]
    event = world.timeline.find(event_id)
    if event is None:
        raise HTTPException(404, "there is no such event")
    if request.method == "POST":
        world.complete(event)
    elif request.method == "DELETE" and not world.timeline.remove(event.id):
        raise HTTPException(409, "this event is computed and cannot be removed")
    return answer(_event(world, event))


async def undeliverable(request: Request) -> Response:
    """Name the events whose republish is accepted and never sent."""
    world = _world(request)
    if request.method == "POST":
        world.undeliverable = set((await Body.read(request, "event_ids")).texts("event_ids"))
    return answer({"event_ids": sorted(world.undeliverable)})


def _status(world: World, order: Order, body: Body, emit: Json) -> list[Event]:
    value = body.text("value")
    if not value:
        raise BadBody("value: a status is needed")
    codes = tuple(body.texts("codes"))
    force = bool(body.flag("force"))
    return [lifecycle.move(world, order, value, codes, foc_us=body.time("foc"), force=force, **emit)]


def _comment(world: World, order: Order, body: Body, emit: Json) -> list[Event]:
    text, user_type = body.text("body") or "A comment.", body.text("user_type") or "admin"
    return [lifecycle.comment(world, order, text, user_type=user_type, user_id=body.text("user_id"), **emit)]


def _split(world: World, order: Order, body: Body, emit: Json) -> list[Event]:
    return lifecycle.split(world, order, int(body.number("numbers") or 1), **emit)[1]


def _messaging(world: World, order: Order, body: Body, emit: Json) -> list[Event]:
    value = body.text("value")
    if not value:
        raise BadBody("value: a messaging status is needed")
    return [lifecycle.set_messaging(world, order, value, **emit)]


def _delete(world: World, order: Order, body: Body, emit: Json) -> list[Event]:
    return [lifecycle.delete(world, order, force=bool(body.flag("force")), **emit)]


def _loa(world: World, order: Order, body: Body, emit: Json) -> list[Event]:
    return [lifecycle.loa_updated(world, order, **emit)]


def _token(world: World, order: Order, body: Body, emit: Json) -> list[Event]:
    return [lifecycle.token_expired(world, order, **emit)]


def _foc(world: World, order: Order, body: Body, emit: Json) -> list[Event]:
    own = world.own_order(order)
    own.foc_actual_us, own.updated_us = body.time("foc"), world.now_us()
    return []


def _webhook_url(world: World, order: Order, body: Body, emit: Json) -> list[Event]:
    own = world.own_order(order)
    own.webhook_url, own.updated_us = body.text("webhook_url"), world.now_us()
    return []


_ACTIONS: dict[str, Callable[[World, Order, Body, Json], list[Event]]] = {
    "status": _status,
    "comment": _comment,
    "split": _split,
    "messaging": _messaging,
    "delete": _delete,
    "loa": _loa,
    "token": _token,
    "foc": _foc,
    "webhook-url": _webhook_url,
}
_STORIES = {
    "smooth": stories.SMOOTH,
    "rejected": stories.REJECTED,
    "rejected_twice": stories.REJECTED_TWICE,
    "given_up": stories.GIVEN_UP,
    "slipped": stories.SLIPPED,
    "forgotten_draft": stories.FORGOTTEN_DRAFT,
}
_ROW = (
    "id",
    "type",
    "order_id",
    "created_at",
    "updated_at",
    "occurred_at",
    "completed",
    "payload",
    "notify",
    "fate",
)


def _insert(world: World, row: Body) -> Event:
    event_type = row.text("type") or catalog.NEW_COMMENT
    order_id = row.text("order_id")
    if order_id is None:
        order = next(iter(world.orders_between(0, 1)), None) or lifecycle.create_order(world)
    else:
        order = world.find_order(order_id) or lifecycle.create_order(world, id=order_id.lower())
    created = row.time("created_at") or world.now_us()
    occurred = row.time("occurred_at") or created
    event_id = row.text("id") or world.ids.fresh("event")
    if world.timeline.find(event_id):
        raise BadBody(f"id: there is an event {event_id} already")
    completed = row.flag("completed") is not False
    payload = row.object("payload") if row.has("payload") else _usual_payload(world, event_type, order, occurred)
    updated = row.time("updated_at") or (created + 1_000_000 if completed else created)
    event = Event(
        id=event_id.lower(),
        type=event_type,
        order_id=order.id,
        occurred_us=occurred,
        created_us=created,
        updated_us=updated,
        completed=completed,
        payload=payload,
        seq=world.next_sequence(),
        completed_us=updated if completed else None,
        fate=_fate(row),
    )
    world.timeline.add(event)
    if row.flag("notify") and completed:
        world.notify(event, False)
    return event


def _usual_payload(world: World, event_type: str, order: Order, at_us: int) -> Json | None:
    if event_type == catalog.STATUS_CHANGED:
        return payloads.status_changed(order) | {"updated_at": iso(at_us)}
    if event_type == catalog.NEW_COMMENT:
        return payloads.new_comment(order, world.ids.fresh("comment"), "A comment.", None, "admin", at_us)
    if event_type == catalog.MESSAGING_CHANGED:
        return payloads.messaging_changed(order)
    if event_type == catalog.DELETED:
        return payloads.deleted(order, at_us)
    if event_type == catalog.SPLIT:
        return payloads.split(order.id, world.ids.fresh("order"), [n.id for n in order.numbers])
    return None


def _emit_arguments(body: Body) -> Json:
    return {
        "complete_after_s": body.number("complete_after"),
        "never_completes": bool(body.flag("never_completes")),
        "fate": _fate(body),
    }


def _fate(body: Body) -> Fate | None:
    given = body.object("fate")
    if given is None:
        return None
    fields = Body(given, ("drop", "fail", "error", "copies", "delay_seconds", "hold"))
    return Fate(
        drop=bool(fields.flag("drop")),
        fail=int(fields.number("fail") or 0),
        error=fields.text("error") or "503",
        copies=int(fields.number("copies") or 1),
        delay_s=fields.number("delay_seconds") or 0.0,
        hold=int(fields.number("hold") or 0),
    )


def _order(order: Order) -> Json:
    return {"id": order.id, "status": order.status, "created_at": iso(order.created_us)}


def _event(world: World, event: Event) -> dict[str, Any]:
    notice = world.notice(event.id)
    return {
        "id": event.id,
        "type": event.type,
        "order_id": event.order_id,
        "created_at": iso(event.created_us),
        "updated_at": iso(event.updated_us),
        "completed": event.completed,
        "webhooks": notice.parts,
        "arrived": sorted(notice.first),
        "arrived_after_republish": sorted(notice.again),
        "republished": notice.republished,
        "in_flight": notice.open,
    }


def _world(request: Request) -> World:
    sandbox: Simulator = request.app.state.sandbox
    return sandbox.world


routes = [
    Route("/orders", make_orders, methods=["POST"]),
    Route("/orders/{id}/{action}", act, methods=["POST"]),
    Route("/events", insert_events, methods=["POST"]),
    Route("/events/{id}", one_event, methods=["GET", "DELETE"]),
    Route("/events/{id}/complete", one_event, methods=["POST"]),
    Route("/burst", burst, methods=["POST"]),
    Route("/undeliverable", undeliverable, methods=["GET", "POST"]),
]
