"""What is true in the world, for comparison with what a watcher found. Read from world state only."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from include.sandbox.world import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from include.sandbox.mail.postman import Postman
    from include.sandbox.world.model import Event, Json, Notice
    from include.sandbox.world.world import World

_SUPERSEDABLE = frozenset({catalog.STATUS_CHANGED, catalog.MESSAGING_CHANGED})


def tell(world: World, postman: Postman) -> Json:
    """Tell the truth. Ids come in sorted lists, so that two worlds can be compared.

    ``missed`` are the events whose first notification got no 2xx anywhere for at least one of its webhooks;
    ``missed_superseded``, ``missed_deleted`` and ``undeliverable`` are parts of it, ``republishable`` is the rest
    with the undeliverable ones. Arrivals by republish take nothing away from ``missed``; ``still_missed`` does.
    """
    missed = [e for e in _events(world) if _missed(world.notices[e.id])]
    newer = _superseded(world, missed)
    superseded = _ids(e for e in missed if e.id in newer)
    deleted = _ids(e for e in missed if e.type == catalog.DELETED)
    rows = world.timeline.rows
    stuck = _ids(e for e in rows if not e.completed and catalog.supports_webhook(e.type))
    stuck = sorted([*stuck, *world.archive.stuck_events()])
    notices = world.notices.items()
    return {
        "phase": world.phase,
        "events": len(world.timeline),
        "orders": world.order_count(),
        "stuck": stuck,
        "exceptions": _exceptions(world),
        "missed": _ids(missed),
        "missed_superseded": superseded,
        "missed_deleted": deleted,
        "republishable": sorted(set(_ids(missed)) - set(superseded) - set(deleted)),
        "undeliverable": sorted(world.undeliverable),
        "notified": sorted(i for i, n in notices if n.parts),
        "arrived_first": sorted(i for i, n in notices if n.parts and len(n.first) >= n.parts),
        "arrived_after_republish": sorted(i for i, n in notices if n.again),
        "still_missed": _ids(e for e in missed if not _whole(world.notices[e.id])),
        "republish_requests": {i: n.republished for i, n in sorted(notices) if n.republished},
        "webhooks_posted": postman.posted,
        "webhooks_received": postman.succeeded,
        "mails": len(world.mails),
    }


def _events(world: World) -> list[Event]:
    """List the events that were ever to be notified."""
    found = (world.timeline.find(i) for i, n in world.notices.items() if n.parts)
    return [e for e in found if e is not None]


def _missed(notice: Notice) -> bool:
    return notice.open == 0 and len(notice.first) < notice.parts


def _whole(notice: Notice) -> bool:
    return len(notice.first | notice.again) >= notice.parts


def _superseded(world: World, missed: list[Event]) -> set[str]:
    last: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for order_id in {e.order_id for e in missed}:
        for event in world.timeline.of_order(order_id):
            key = (event.type, order_id)
            last[key] = max(last[key], event.sort_key)
    return {e.id for e in missed if e.type in _SUPERSEDABLE and last[e.type, e.order_id] > e.sort_key}


def _exceptions(world: World) -> list[Json]:
    found: list[Json] = []
    for order in world.orders():
        if order.status == "exception":
            found.append({"order_id": order.id, "kind": "voice", "codes": sorted(order.codes)})
        if order.messaging_status == "exception":
            found.append({"order_id": order.id, "kind": "messaging", "codes": []})
    return sorted(found, key=lambda row: (row["order_id"], row["kind"]))


def _ids(events: Iterable[Event]) -> list[str]:
    return sorted(e.id for e in events)
