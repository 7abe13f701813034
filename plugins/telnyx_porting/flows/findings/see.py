"""Everything that is true now for one account, kind by kind; a kind, or a row, that cannot be judged stops no other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telnyx_porting.flows.findings.finding import HEALTH
from telnyx_porting.flows.findings.kinds import KINDS, kind_of
from telnyx_porting.settings.values import LOW

if TYPE_CHECKING:
    from telnyx_porting.flows.findings.finding import Look, Row, Seen


def see(look: Look) -> dict[str, Seen]:
    """Return what is true now, by key; what could not be judged is in ``look.failed``, and itself a finding."""
    for kind in KINDS:
        if kind.look is not None:
            look.found.extend(look.kind(kind.name, kind.look))
    return {item.key: _lower_dormant(look, item) for item in look.found}


def is_held(look: Look, finding: Row) -> bool:
    """Whether a finding that is not seen may be true all the same, because what it hangs on could not be judged."""
    kind = kind_of(finding["kind"], finding["subject"])
    looked_for = () if kind.look is None else (kind.name, *kind.hangs_on)
    return any(
        name in looked_for if order_id is None else order_id == finding["order_id"] for name, order_id in look.failed
    )


def _lower_dormant(look: Look, item: Seen) -> Seen:
    """Lower what nobody touched for very long: it is listed, and nobody is reminded."""
    if item.kind == HEALTH:
        return item
    order = look.open_orders.get(item.order_id or "")
    last = item.touched or item.since
    if order is not None and order["status_since"] is not None and order["status"] != "ported":
        last = max(last, order["status_since"])
    if not look.is_dormant(last):
        return item
    return replace(item, severity=LOW, detail={**item.detail, "dormant": True})
