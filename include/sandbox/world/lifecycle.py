"""What can happen to a port order, and the event each happening leaves behind."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from include.sandbox.world import catalog, payloads
from include.sandbox.world.model import Event, Number, Order
from include.sandbox.world.times import DAY, SECOND

if TYPE_CHECKING:
    from include.sandbox.world.stories import Step
    from include.sandbox.world.world import World


class ImpossibleMove(ValueError):
    """The order cannot go there from where it is."""


#: Arguments that are handed on to :meth:`World.emit` (complete_after_s, never_completes, fate).
Emit = Any


def create_order(world: World, *, numbers: int = 1, **fields: Any) -> Order:
    """Make a draft.

    :param numbers: how many phone numbers it has.
    :param fields: other fields of :class:`Order`.
    """
    now = world.now_us()
    sequence = world.next_sequence()
    order_id = world.ids.fresh("order")
    short = order_id[:6]
    order = Order(id=order_id, created_us=now, updated_us=now, seq=sequence)
    order.customer_reference = f"site-{short}"
    order.customer_group_reference = "branches"
    order.foc_requested_us = now + 14 * DAY
    order.messaging_enabled = True
    order.messaging_status = "pending"
    for _ in range(numbers):
        number_id = world.ids.fresh("number")
        order.numbers.append(Number(number_id, f"+1312{world.ids.number(number_id, 10_000_000):07d}"))
    for name, value in fields.items():
        setattr(order, name, value)
    world.add_order(order)
    return order


def move(
    world: World,
    order: Order,
    status: str,
    codes: tuple[str, ...] = (),
    *,
    foc_us: int | None = None,
    force: bool = False,
    **emit: Emit,
) -> Event:
    """Give an order a new status.

    :param codes: exception codes, for the status details.
    :param foc_us: the agreed date, when the status confirms one.
    :param force: also where no published move leads.
    :raises ImpossibleMove: naming both statuses and the possible ones.
    """
    possible = catalog.MOVES.get(order.status, frozenset())
    if not force and status not in possible:
        raise ImpossibleMove(f"order {order.id} is {order.status}; from there to {sorted(possible)}, not {status!r}")
    order = world.own_order(order)
    some_unknown = world.switches.unknown_values == "some"
    order.status = status
    order.codes = codes if not some_unknown or status != "exception" else (*codes, catalog.UNLISTED_CODE)
    occurred = order.updated_us = _just_before(world, order)
    if order.support_key is None and status != "draft":
        order.support_key = f"sr_{order.id[:6]}"
        order.parent_support_key = order.parent_support_key or f"pr_{order.id[:6]}"
    if status == "foc-date-confirmed":
        order.foc_actual_us = foc_us or order.foc_requested_us or occurred + 7 * DAY
        order.activation_status = "Pending"
    elif status == "ported":
        order.activation_status = "Active"
        if some_unknown:
            world.emit(catalog.UNHEARD_OF, order.id, {"id": order.id, "activation": "Active"})
    elif status == "cancelled":
        order.activation_status = "Cancelled" if order.activation_status else None
    event_payload = payloads.status_changed(order)
    return world.emit(catalog.STATUS_CHANGED, order.id, event_payload, occurred_us=occurred, **emit)


def comment(
    world: World, order: Order, body: str, *, user_type: str = "admin", user_id: str | None = None, **emit: Emit
) -> Event:
    """Add a comment."""
    comment_id = world.ids.fresh("comment")
    occurred = _just_before(world, order)
    who = user_id or world.ids.named(f"commenter {user_type}")
    payload = payloads.new_comment(order, comment_id, body, who, user_type, occurred)
    return world.emit(catalog.NEW_COMMENT, order.id, payload, occurred_us=occurred, **emit)


def split(world: World, order: Order, count: int, **emit: Emit) -> tuple[Order, list[Event]]:
    """Move some numbers of an order to a new one.

    :raises ImpossibleMove: when the order has not more numbers than that.
    """
    if not 0 < count < len(order.numbers):
        raise ImpossibleMove(f"order {order.id} has {len(order.numbers)} numbers; {count} cannot be split off")
    order = world.own_order(order)
    moved, order.numbers = order.numbers[:count], order.numbers[count:]
    target = create_order(
        world,
        numbers=0,
        status=order.status,
        codes=order.codes,
        customer_reference=f"{order.customer_reference}b",
        customer_group_reference=order.customer_group_reference,
        parent_support_key=order.parent_support_key,
        webhook_url=order.webhook_url,
        foc_requested_us=order.foc_requested_us,
        messaging_status=order.messaging_status,
    )
    target.support_key = f"sr_{target.id[:6]}" if order.support_key else None
    target.numbers = moved
    occurred = order.updated_us = _just_before(world, order)
    groups = [moved] if world.switches.split_events == "one" else [[number] for number in moved]
    events = []
    for group in groups:
        payload = payloads.split(order.id, target.id, [number.id for number in group])
        events.append(world.emit(catalog.SPLIT, order.id, payload, occurred_us=occurred, **emit))
    return target, events


def set_messaging(world: World, order: Order, status: str, **emit: Emit) -> Event:
    """Give the messaging part of an order a new state."""
    order = world.own_order(order)
    order.messaging_enabled = True
    order.messaging_status = status
    occurred = order.updated_us = _just_before(world, order)
    return world.emit(
        catalog.MESSAGING_CHANGED, order.id, payloads.messaging_changed(order), occurred_us=occurred, **emit
    )


def delete(world: World, order: Order, *, force: bool = False, **emit: Emit) -> Event:
    """Delete a draft.

    :raises ImpossibleMove: when it is no draft any more.
    """
    if order.status != "draft" and not force:
        raise ImpossibleMove(f"order {order.id} is {order.status}; only a draft can be deleted")
    occurred = _just_before(world, order)
    world.own_order(order)
    event = world.emit(catalog.DELETED, order.id, payloads.deleted(order, occurred), occurred_us=occurred, **emit)
    world.drop_order(order)
    return event


def loa_updated(world: World, order: Order, **emit: Emit) -> Event:
    """Record a new letter of authorisation; people are told by mail only."""
    return world.emit(catalog.LOA_UPDATED, order.id, None, **emit)


def token_expired(world: World, order: Order, **emit: Emit) -> Event:
    """Record that a sharing link has expired; people are told by mail only."""
    return world.emit(catalog.SHARING_TOKEN_EXPIRED, order.id, None, **emit)


def take_step(world: World, order: Order, step: Step, **emit: Emit) -> Event:
    """Do one step of a story."""
    if step.kind == "status":
        return move(world, order, step.value, step.codes, force=True, **emit)
    if step.kind == "comment":
        user_type, _, body = step.value.partition("|")
        return comment(world, order, body, user_type=user_type, **emit)
    if step.kind == "messaging":
        return set_messaging(world, order, step.value, **emit)
    if step.kind == "deleted":
        return delete(world, order, force=True, **emit)
    return (loa_updated if step.kind == "loa" else token_expired)(world, order, **emit)


def live(world: World, order: Order, story: tuple[Step, ...], pace_s: float) -> None:
    """Let an order live through a story by itself, a step every so many seconds of world time."""
    for number, step in enumerate(story, start=1):
        due = world.now_us() + int(number * pace_s * SECOND)
        world.at(due, partial(take_step, world, order, step))


def _just_before(world: World, order: Order) -> int:
    """Give the time something happened: a little before its event is recorded, and after the order's last change.

    In a frozen world, nothing can be later than now.
    """
    now = world.now_us()
    lag = 20_000 + world.ids.number(f"lag {now}", 70_000)
    return max(now - lag, min(order.updated_us + SECOND // 1_000, now))
