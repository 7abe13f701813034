"""What an alert says, as fields and as a sentence that a person can act on."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from telnyx_porting.escaping import LONG, as_data, one_line
from telnyx_porting.flows.alerts import wording as words
from telnyx_porting.flows.alerts.guidance import next_step
from telnyx_porting.flows.alerts.hints import hint_for
from telnyx_porting.flows.alerts.templates import render
from telnyx_porting.settings.values import rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telnyx_porting.flows.alerts.facts import Facts

log = logging.getLogger(__name__)
LEADS = {"firing": "ACT", "changed": "CHANGED", "reminder": "STILL OPEN", "resolved": "RESOLVED", "digest": "DIGEST"}
_TITLES = {
    "question": "open question",
    "stuck": "stuck event",
    "given_up": "notification given up",
    "overdue": "FOC date passed and not ported",
    "risk": "FOC date at risk",
    "changed": "another FOC date",
    "activation": "activation due and not started",
}
SHOWN = 10  # findings spelt out in the text of a grouped message


def entry(finding: Mapping[str, Any], turn: int, action: str, facts: Facts) -> dict[str, Any]:
    """Return one finding of a message as JSON.

    :param turn: the turn that is told; an older one than the finding's is over.
    """
    current = finding["turn"] == turn
    order = facts.order_of(finding)
    mode = facts.settings.alert_details
    detail = finding["detail"] if current else {}
    row = {
        "key": as_data(finding["key"]),
        "turn": turn,
        "dedup_key": as_data(f"{facts.account}/{finding['key']}/{turn}"),
        "kind": finding["kind"],
        "subject": as_data(finding["subject"]),
        "order_id": as_data(finding["order_id"]),
        "severity": finding["severity"],
        "since": finding["since"].isoformat() if current else None,
        "detail": _clean(detail, mode),
        "text": sentence(finding, action, facts, current=current),
    }
    if mode != "ids" and order is not None:
        row["customer_reference"] = as_data(order["customer_reference"])
        row["support_key"] = as_data(order["support_key"])
    return row


def sentence(finding: Mapping[str, Any], action: str, facts: Facts, *, current: bool = True) -> str:
    """Return what to tell a person about one finding; where its words fail, that there is one: it is never silent."""
    try:
        view = _view(finding, action, facts, current)
        name = "over" if action == "resolved" or not current else finding["kind"]
        return " ".join(render(name, facts.settings.alert_templates, **view).split())
    except Exception as error:  # one odd row must not keep the others of a message from being told
        log.exception("the words of finding %r of %s", finding["key"], facts.account)
        facts.failed[finding["key"]] = type(error).__name__
        return f"{_lead(action, facts)}: {one_line(finding['key'])} (its words cannot be made: see Telnyx's portal)."


def bare(finding: Mapping[str, Any], action: str, facts: Facts) -> str:
    """Return the same without the word that leads it, for a list."""
    return sentence(finding, action, facts).removeprefix(f"{_lead(action, facts)}: ")


def _lead(action: str, facts: Facts) -> str:
    return LEADS[action] + (f" [{facts.account}]" if len(facts.settings.accounts) > 1 else "")


def headline(account: str, action: str, entries: Sequence[Mapping[str, Any]], folder: str, first_look: bool) -> str:
    """Return the text of a whole message."""
    if len(entries) == 1 and not first_look:
        return str(entries[0]["text"])
    ranked = sorted(entries, key=lambda item: (rank(item["severity"]), item["since"] or ""))
    return render(
        "group",
        folder,
        lead=LEADS[action],
        account=account,
        first_look=first_look,
        count=len(entries),
        counts=_counts(entries),
        lines=[item["text"] for item in ranked[:SHOWN]],
        more=max(len(entries) - SHOWN, 0),
    ).strip()


def _counts(entries: Sequence[Mapping[str, Any]]) -> str:
    found: dict[str, int] = {}
    for item in entries:
        found[item["kind"]] = found.get(item["kind"], 0) + 1
    return ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in sorted(found.items()))


def _view(finding: Mapping[str, Any], action: str, facts: Facts, current: bool) -> dict[str, Any]:
    """Gather everything a template may say, as cleaned text."""
    order, detail = facts.order_of(finding), finding["detail"] if current else {}
    zone, mode = facts.calendar.zone, facts.settings.alert_details
    codes = _codes(detail, order)
    who, step = next_step(finding, detail, codes)
    comments = facts.comments.get(finding["order_id"] or "", ())
    return {
        "lead": _lead(action, facts),
        "account": facts.account,
        "status": one_line((order or {}).get("status") or "", 40),
        "kind": finding["kind"],
        "title": _title(finding),
        "passed": action == "resolved" and _has_passed(finding, facts),
        "severity": finding["severity"],
        "subject": one_line(finding["subject"]),
        "label": words.label(finding["order_id"], order, mode),
        "numbers": words.numbers(order),
        "age": words.age((finding["resolved_at"] or facts.now) - finding["since"]),
        "foc": words.foc(order, facts.now, facts.calendar),
        "ordinal": words.ordinal(int(detail.get("episode") or 1)),
        "messaging": bool(detail.get("messaging")),
        "after_date": detail.get("came_from") == "foc-date-confirmed",
        "only_on_order": detail.get("seen_by") == "order",
        "says": _says(codes, facts),
        "who": who,
        "next": step,
        "what": detail.get("what") or detail.get("status") or "",
        "reason": detail.get("reason") or "",
        "limit": words.limit(str(detail.get("limit") or "")),
        "dormant": bool(detail.get("dormant")),
        "event_type": one_line(str(detail.get("event_type") or "").removeprefix("porting_order.")),
        "sends": detail.get("sends") or 0,
        "text": one_line(detail.get("text") or "", LONG).rstrip("."),
        "before": _moment(detail, "before", facts),
        "date": _moment(detail, "foc", facts),
        "away": _away(detail, "foc", facts),
        "entered": words.day(datetime.fromisoformat(detail["entered"]), facts.now, zone) if "entered" in detail else "",
        "moved": bool(detail.get("moved")),
        "comments": [f"{one_line(author, 20)}: {one_line(body, LONG)}" for author, body in comments],
        "siblings": facts.siblings.get(finding["order_id"] or "", ()),
        "owner": one_line(finding["owner"] or ""),
        "note": one_line(finding["note"] or "", LONG),
    }


def _title(finding: Mapping[str, Any]) -> str:
    kind = str(finding["kind"])
    if kind == "foc":
        return _TITLES.get(finding["subject"].rpartition("/")[2], kind)
    return _TITLES.get(kind, kind) if kind != "overdue" else kind


def _has_passed(finding: Mapping[str, Any], facts: Facts) -> bool:
    """Whether an endangered date is over only because it passed."""
    detail = finding["detail"]
    return detail.get("what") == "risk" and datetime.fromisoformat(detail["foc"]) <= facts.now


def _says(codes: Sequence[Sequence[str | None]], facts: Facts) -> str:
    """Return the carrier's reasons: its own words first, then ours, then the provider's list."""
    said = []
    for code, description in codes:
        name = code or ""
        own = description if facts.settings.alert_details != "ids" else None
        hint = hint_for(name)
        meaning = own or (hint.meaning if hint else None) or facts.exception_types.get(name)
        said.append(one_line(f"{name}: {meaning}" if meaning and not own else meaning or name, 300))
    return "; ".join(text for text in said if text)


def _codes(detail: Mapping[str, Any], order: Mapping[str, Any] | None) -> Sequence[Any]:
    """Return the codes of an exception, also of one that endangers a date."""
    at_risk = detail.get("what") == "risk" and detail.get("reason") == "exception"
    return detail.get("codes") or (order["codes"] if at_risk and order is not None else None) or ()


def _moment(detail: Mapping[str, Any], name: str, facts: Facts) -> str:
    if name not in detail:
        return ""
    return words.moment(datetime.fromisoformat(detail[name]), facts.now, facts.calendar.zone)


def _away(detail: Mapping[str, Any], name: str, facts: Facts) -> str:
    if name not in detail:
        return ""
    return words.in_working_days(datetime.fromisoformat(detail[name]), facts.now, facts.calendar)


def _clean(detail: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """Return a finding's detail for a field of its own, as far as alerts may say it."""
    cleaned = {name: _travels(value) for name, value in detail.items()}
    if isinstance(detail.get("codes"), list):
        cleaned["codes"] = [
            {"code": _travels(code[0]), **({"description": _travels(code[-1])} if mode != "ids" else {})}
            for code in detail["codes"]
            if isinstance(code, (list, tuple)) and code
        ]
    return cleaned


def _travels(value: Any) -> Any:
    """Return a value whose texts every transport takes."""
    if isinstance(value, list):
        return [_travels(item) for item in value]
    return as_data(value) if isinstance(value, str) else value
