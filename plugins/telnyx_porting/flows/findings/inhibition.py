"""Which finding keeps which other one quiet: one cause, one alert, not a hundred."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telnyx_porting.settings.values import CRITICAL

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY_REFUSED = "health:key_refused"
_SETTINGS = "health:settings"
_NOT_SEALED = "health:nothing_sealed"


def is_inhibited(finding: Mapping[Any, Any], severities: Mapping[str, str]) -> bool:
    """Whether an open parent says it all.

    :param severities: the open findings of the account: key -> severity.
    """
    kind, order = finding["kind"], finding["order_id"]
    if kind == "health":
        return _health(finding["key"], severities)
    if kind == "overdue":  # a missed date, or the exception itself, is the stronger word
        return f"foc:{order}/overdue" in severities or f"exception:{order}" in severities
    if kind == "foc" and finding["detail"].get("what") == "risk":
        return f"foc:{order}/overdue" in severities or severities.get(f"exception:{order}") == CRITICAL
    if kind == "foc" and finding["detail"].get("what") == "activation":
        return f"foc:{order}/overdue" in severities
    return False


def _health(key: str, severities: Mapping[str, str]) -> bool:
    if key in (_KEY_REFUSED, _SETTINGS):
        return False
    if _SETTINGS in severities and key.startswith(("health:dag:", _NOT_SEALED)):
        return True
    if key == "health:approval":
        return "health:approval_asked" in severities
    if _KEY_REFUSED in severities:
        # a channel that fails, a plan that waits, a receiver that is down: nothing to do with the key
        return not key.startswith(("health:channel:", "health:approval", "health:consumer", "health:receiver"))
    return key.startswith("health:dag:porting_scan") and _NOT_SEALED in severities
