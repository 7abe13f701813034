"""Everything that is true now for one account, kind by kind; a kind, or a row, that cannot be judged stops no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from telnyx_porting.flows.findings.finding import Seen
from telnyx_porting.flows.findings.kinds.events import given_up, stuck
from telnyx_porting.flows.findings.kinds.exceptions import exceptions
from telnyx_porting.flows.findings.kinds.foc import foc
from telnyx_porting.flows.findings.kinds.overdue import overdue
from telnyx_porting.flows.findings.kinds.questions import questions
from telnyx_porting.flows.findings.kinds.watch import WATCHED, is_derived
from telnyx_porting.settings.values import HIGH, LOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from telnyx_porting.flows.findings.finding import Look


def see(look: Look) -> dict[str, Seen]:
    """Return what is true now, by key; what could not be judged is in ``look.failed``, and itself a finding."""
    found = [*look.kind("exception", exceptions), *look.kind("question", questions)]
    problems = {item.order_id: item for item in reversed(found) if item.order_id and not item.detail.get("messaging")}
    found += look.kind("stuck", stuck) + look.kind("given_up", given_up)
    found += look.kind("foc", partial(foc, problems=problems)) + look.kind("overdue", overdue)
    for watch in WATCHED:
        found += look.kind("health", watch)
    return {item.key: item for item in [*(_at_rest(look, item) for item in found), *_not_judged(look)]}


def is_held(look: Look, finding: Mapping[str, Any]) -> bool:
    """Whether a finding that is not seen may be true all the same, because what it hangs on could not be judged."""
    kind, order = finding["kind"], finding["order_id"]
    for failed, order_id in look.failed:
        if order_id is not None:
            if order_id == order:
                return True
        elif failed == kind and (kind != "health" or is_derived(finding["key"])):
            return True
        elif kind == "foc" and failed in ("exception", "question"):  # they endanger a date
            return True
    return False


def _not_judged(look: Look) -> Iterator[Seen]:
    kinds = {kind for kind, _ in look.failed}
    for kind in sorted(kinds):
        failed = {order_id: why for (name, order_id), why in look.failed.items() if name == kind}
        name = f"findings of the kind {kind}"
        if None in failed:
            text = f"{name} could not be looked for ({failed[None]}): what was open stays open, what is new is not seen"
        else:
            first = min(failed, key=str)
            text = (
                f"{name} could not be judged for every order ({failed[first]}, for example at {first}); all others are"
            )
        yield Seen("health", f"look:{kind}", None, HIGH, look.now, {"text": text, "rows": len(failed)})


def _at_rest(look: Look, item: Seen) -> Seen:
    """Lower what nobody touched for very long: it is listed, and nobody is reminded."""
    if item.kind == "health":
        return item
    order = look.open_orders.get(item.order_id or "")
    last = datetime.fromisoformat(item.detail["entered"]) if item.kind == "overdue" else item.since
    if order is not None and order["status_since"] is not None and order["status"] != "ported":
        last = max(last, order["status_since"])
    if not look.is_dormant(last):
        return item
    return replace(item, severity=LOW, detail=item.detail | {"dormant": True})
