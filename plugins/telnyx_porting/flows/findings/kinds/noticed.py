"""What is wrong with the watch and opened by who notices it, with `health`, and closed by `clear`: whose step it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telnyx_porting.flows.findings.health_kind import KEY_REFUSED, NOT_SEALED, SEE_LOG, SETTINGS, health_kind
from telnyx_porting.flows.findings.kind import PLATFORM, RECEIVERS, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telnyx_porting.flows.findings.finding import Row

_STEPS: dict[str, Step] = {
    "key_refused": (PLATFORM, "put a valid API key into the password of this connection; nothing is read until then"),
    "settings": (PLATFORM, "correct this variable; the tasks of this account stand still until then"),
    "approval_asked": (PLATFORM, "approve or reject it: Airflow, Required actions"),
    "consumer_of_record": (PLATFORM, "choose one; until then nothing is called missed and nothing is resent"),
    "evidence": (PLATFORM, "check the subscription's URL and the receiver's key; nothing is resent meanwhile"),
    "clock_skew": (PLATFORM, "set this machine's clock (NTP)"),
    "channel": (PLATFORM, "repair the channel's Airflow connection; what waits is sent then"),
    "dag": (PLATFORM, "open the log of that run in Airflow"),
    "subscription": (PLATFORM, "add it in the Telnyx portal: Account Settings > Notifications, Port In Notifications"),
    "preflight": (PLATFORM, "do that, then `python -m telnyx_porting preflight` shows whether it is good"),
    "republish_halted": (RECEIVERS, "repair it; the next look makes a new plan, and no try is counted"),
    "not_arrived": (RECEIVERS, "look at the plan's report, and at why it takes none"),
    "horizon": ("nobody", "nothing to do"),
    "wording": SEE_LOG,
}
_WITHOUT_KEY = frozenset({"key_refused", "settings", "approval_asked", "channel", "consumer_of_record"})
"""Has nothing to do with the key of the account: a channel that fails, a plan that waits ..."""


def _inhibited(finding: Row, severities: Mapping[str, str]) -> bool:
    head, _, rest = finding["subject"].partition(":")
    if head in _WITHOUT_KEY:
        return False
    parents = {KEY_REFUSED}
    if head == "dag":
        parents.add(SETTINGS)
    if head == "dag" and rest.startswith("porting_scan"):
        parents.add(NOT_SEALED)
    return not parents.isdisjoint(severities)


KIND = replace(health_kind(_STEPS, inhibited=_inhibited), subjects=frozenset())  # and whatever else people notice
