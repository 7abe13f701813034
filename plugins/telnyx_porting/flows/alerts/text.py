"""What an alert says, as fields and as a sentence that a person can act on."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from telnyx_porting import links
from telnyx_porting.escaping import LONG, as_data, identity, one_line
from telnyx_porting.flows.alerts.templates import render
from telnyx_porting.flows.findings import wording as words
from telnyx_porting.flows.findings.kind import Told
from telnyx_porting.flows.findings.kinds import kind_of
from telnyx_porting.ledger.states import AlertAction
from telnyx_porting.settings.values import rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telnyx_porting.flows.alerts.facts import Facts

log = logging.getLogger(__name__)
LEADS: dict[str, str] = {
    AlertAction.FIRING: "ACT",
    AlertAction.CHANGED: "CHANGED",
    AlertAction.REMINDER: "STILL OPEN",
    AlertAction.RESOLVED: "RESOLVED",
    AlertAction.DIGEST: "DIGEST",
}
SHOWN = 10  # findings spelt out in the text of a grouped message
_BLANK = dict.fromkeys(
    "after_date away before date entered event_type limit messaging moved only_on_order ordinal passed reason says"
    " sends text what".split(),
    "",
)
"""What people's own templates may ask of every kind, though only some have it."""


def entry(
    finding: Mapping[str, Any], occurrence: int, action: str, facts: Facts, *, short: bool = False
) -> dict[str, Any]:
    """Return one finding of a message as JSON.

    :param occurrence: the one that is told; an older one than the finding's is over.
    :param short: no more than that there is one: the channel refused its details.
    """
    current = finding["occurrence"] == occurrence
    order = facts.order_of(finding)
    mode = facts.settings.alert_details
    detail = finding["detail"] if current else {}
    row = {
        "key": identity(finding["key"]),
        "occurrence": occurrence,
        "dedup_key": identity(f"{facts.account}/{finding['key']}/{occurrence}"),
        "kind": finding["kind"],
        "subject": identity(finding["subject"]),
        "order_id": identity(finding["order_id"]) if finding["order_id"] else None,
        "severity": finding["severity"],
        "since": finding["since"].isoformat() if current else None,
        "detail": {} if short else _clean(detail, mode),
        "text": _short(finding, action, facts) if short else sentence(finding, action, facts, current=current),
    }
    if short:
        return row
    if base := facts.settings.console_url:
        row["url"] = links.finding(base, facts.account, finding["key"], finding["order_id"])
    if mode != "ids" and order is not None:
        row["customer_reference"] = as_data(order["customer_reference"])
        row["support_key"] = as_data(order["support_key"])
    return row


def sentence(finding: Mapping[str, Any], action: str, facts: Facts, *, current: bool = True) -> str:
    """Return what to tell a person about one finding; where its words fail, that there is one: it is never silent."""
    try:
        view = _view(finding, action, facts, current)
        name = "over" if action == AlertAction.RESOLVED or not current else finding["kind"]
        return " ".join(render(name, facts.settings.alert_templates, **view).split())
    except Exception as error:  # one odd row must not keep the others of a message from being told
        log.exception("the words of finding %r of %s", finding["key"], facts.account)
        facts.failed[finding["key"]] = type(error).__name__
        return _short(finding, action, facts, "its words cannot be made")


def _short(finding: Mapping[str, Any], action: str, facts: Facts, why: str = "this channel refused more words") -> str:
    return f"{_lead(action, facts)}: {one_line(finding['key'])} ({why}: see Telnyx's portal)."


def bare(finding: Mapping[str, Any], action: str, facts: Facts) -> str:
    """Return the same without the word that leads it, for a list."""
    return sentence(finding, action, facts).removeprefix(f"{_lead(action, facts)}: ")


def line(finding: Mapping[str, Any], facts: Facts) -> str:
    """Return what is true, in our own words, for a list in which owner, note and next step have places of their own."""
    try:
        view = _view(finding, AlertAction.FIRING, facts, current=True) | {"lead": ""}
        return " ".join(render(f"{finding['kind']}.line", "", **view).split()).lstrip(": ")
    except Exception as error:  # one odd row must not hide the others
        log.exception("the words of finding %r of %s", finding["key"], facts.account)
        facts.failed[finding["key"]] = type(error).__name__
        return f"{one_line(finding['key'])} (its words cannot be made)"


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
    found = Counter(item["kind"] for item in entries)
    return ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in sorted(found.items()))


def _view(finding: Mapping[str, Any], action: str, facts: Facts, current: bool) -> dict[str, Any]:
    """Gather everything a template may say, as cleaned text."""
    order, detail, mode = facts.order_of(finding), finding["detail"] if current else {}, facts.settings.alert_details
    over = action == AlertAction.RESOLVED
    told = Told(finding, detail, order, over, facts.settings, facts.now, facts.calendar, facts.exception_types)
    kind = kind_of(finding["kind"], finding["subject"])
    who, step = kind.next_step(told)
    comments = facts.comments.get(finding["order_id"] or "", ())
    common = {
        "lead": _lead(action, facts),
        "account": facts.account,
        "status": one_line((order or {}).get("status") or "", 40),
        "kind": kind.name,
        "title": kind.title or kind.name,
        "severity": finding["severity"],
        "subject": one_line(finding["subject"]),
        "label": words.label(finding["order_id"], order, mode),
        "numbers": words.numbers(order),
        "age": words.age((finding["resolved_at"] or facts.now) - finding["since"]),
        "foc": words.foc(order, facts.now, facts.calendar),
        "who": who,
        "next": step,
        "dormant": bool(detail.get("dormant")),
        "comments": [f"{one_line(author, 20)}: {one_line(body, LONG)}" for author, body in comments],
        "siblings": facts.siblings.get(finding["order_id"] or "", ()),
        "owner": one_line(finding["owner"] or ""),
        "note": one_line(finding["note"] or "", LONG),
    }
    return _BLANK | common | kind.words(told)


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
