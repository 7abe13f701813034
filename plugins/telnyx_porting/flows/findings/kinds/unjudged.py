"""What could not be judged in this very look: it stands behind all other kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telnyx_porting.flows.findings.health_kind import SEE_LOG, health_kind, seen
from telnyx_porting.settings.values import HIGH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.flows.findings.finding import Look, Seen


def _look(look: Look) -> Iterator[Seen]:
    """Yield one per kind that failed, at some orders or as a whole."""
    for kind in sorted({kind for kind, _ in look.failed}):
        failed = {order_id: why for (name, order_id), why in look.failed.items() if name == kind}
        name = f"findings of the kind {kind}"
        if None in failed:
            text = f"{name} could not be looked for ({failed[None]}): what was open stays open, what is new is not seen"
        else:
            first = min(failed, key=str)
            text = (
                f"{name} could not be judged for every order ({failed[first]}, for example at {first}); all others are"
            )
        yield seen(f"look:{kind}", HIGH, look.now, text, len(failed))


KIND = health_kind({"look": SEE_LOG}, _look)
