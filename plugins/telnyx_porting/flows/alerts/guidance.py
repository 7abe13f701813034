"""Whose step is next, and which: for every finding, in words that a porting desk can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telnyx_porting.flows.alerts.hints import CARRIER, TELNYX, US, hint_for
from telnyx_porting.settings.values import LOW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Step = tuple[str, str]
PLATFORM = "whoever runs the watch"
RECEIVERS = "whoever runs the receiving system"
_COMMENT = "write a comment on the order, it reaches Telnyx's porting team"

_QUESTION: Step = (US, "answer with a comment on the order; if it needs no answer, acknowledge it")
_GIVEN_UP: Step = (
    RECEIVERS,
    "see why it takes none, repair it, then send this event again with the form of porting_republish",
)
_FOC: dict[str, Step] = {
    "overdue": (TELNYX, f"ask what holds the port: {_COMMENT}"),
    "risk": (US, "solve it before the date, or ask for another date"),
    "changed": (US, "check that the new date suits, tell the customer, and acknowledge"),
    "activation": (US, "activate the numbers in the Telnyx portal"),
}
_OVERDUE: dict[str, Step] = {
    "in-process": (TELNYX, f"ask what it waits for: {_COMMENT}"),
    "submitted": (CARRIER, f"have Telnyx press the losing carrier: {_COMMENT}"),
    "exception": (US, "solve the exception and confirm again"),
    "cancel-pending": (TELNYX, f"ask for the cancellation to be confirmed: {_COMMENT}"),
    "activation-in-progress": (TELNYX, "test the numbers, and call Telnyx: they may be moved in part"),
    "messaging-pending": (TELNYX, f"ask what holds the messaging part: {_COMMENT}"),
}
_HEALTH: dict[str, Step] = {
    "key_refused": (PLATFORM, "put a valid API key into the password of this connection; nothing is read until then"),
    "settings": (PLATFORM, "correct this variable; the tasks of this account stand still until then"),
    "nothing_sealed": (PLATFORM, "look at the last runs of porting_scan, and at `python -m telnyx_porting status`"),
    "signatures": (PLATFORM, "give the receiver the public key that Telnyx's portal shows for this account"),
    "approval": (PLATFORM, "approve or reject it: Airflow, Required actions"),
    "approval_asked": (PLATFORM, "approve or reject it: Airflow, Required actions"),
    "receiver": (PLATFORM, "start it: python -m telnyx_porting.web.receiver"),
    "consumer": (RECEIVERS, "bring it back; what was missed is planned for republishing by itself"),
    "record": (PLATFORM, "nothing, if that is right; else set TELNYX_PORTING_CONSUMER_OF_RECORD"),
    "consumer_of_record": (PLATFORM, "choose one; until then nothing is called missed and nothing is resent"),
    "evidence": (PLATFORM, "check the subscription's URL and the receiver's key; nothing is resent meanwhile"),
    "rate": (PLATFORM, "find the other software that uses this account, or ask Telnyx for a higher limit"),
    "clock_skew": (PLATFORM, "set this machine's clock (NTP)"),
    "channel": (PLATFORM, "repair the channel's Airflow connection; what waits is sent then"),
    "dag": (PLATFORM, "open the log of that run in Airflow"),
    "subscription": (PLATFORM, "add it in the Telnyx portal: Account Settings > Notifications, Port In Notifications"),
    "preflight": (PLATFORM, "do that, then `python -m telnyx_porting preflight` shows whether it is good"),
    "republish_halted": (RECEIVERS, "repair it; the next look makes a new plan, and no try is counted"),
    "not_arrived": (RECEIVERS, "look at the plan's report, and at why it takes none"),
    "horizon": ("nobody", "nothing to do"),
    "odd": (
        PLATFORM,
        "ask whose rows they are (Telnyx support; of a table of yours who fills it); nothing waits for it",
    ),
    "look": (
        PLATFORM,
        "see the log of the last run of porting_exception_alerts, and report it as a fault of the watch",
    ),
    "wording": (
        PLATFORM,
        "see the log of the last run of porting_exception_alerts, and report it as a fault of the watch",
    ),
}


def next_step(finding: Mapping[str, Any], detail: Mapping[str, Any], codes: Sequence[Any]) -> Step:
    """Return whose step it is, and which; empty where nothing is known.

    :param codes: the order's exception codes with descriptions, as far as the finding is about them.
    """
    kind = finding["kind"]
    if kind == "exception" and detail.get("messaging"):
        return TELNYX, "nothing to do: Telnyx solves messaging exceptions itself"
    if kind == "exception":
        return _exception(codes) or (US, "read the comments of the order")
    if kind == "foc":
        what = str(detail.get("what"))
        who, step = _FOC.get(what, ("", ""))
        solved = _exception(codes) if what == "risk" else None
        return (solved[0], f"{step}: {solved[1]}") if solved else (who, step)
    if kind == "overdue":
        return _OVERDUE.get(str(detail.get("status")), (TELNYX, f"ask where it hangs: {_COMMENT}"))
    if kind == "stuck" and finding["severity"] == LOW:
        return TELNYX, "wait; it usually comes by itself"
    if kind == "stuck":
        return TELNYX, "look at the order itself, and ask Telnyx support about this event"
    if kind == "health":
        return _HEALTH.get(finding["subject"].partition(":")[0], (PLATFORM, ""))
    return {"question": _QUESTION, "given_up": _GIVEN_UP}.get(kind, ("", ""))


def _exception(codes: Sequence[Any]) -> Step | None:
    hints = [hint for code, _ in codes if (hint := hint_for(code or "")) is not None]
    if not hints:
        return None
    owners = list(dict.fromkeys(hint.owner for hint in hints))
    steps = "; ".join(dict.fromkeys(hint.step for hint in hints))
    owner = US if US in owners else owners[0]
    return owner, steps + (", then confirm again" if owner in (US, CARRIER) else "")
