"""What an alert says, as fields and as a sentence that a person can act on.

Sentences are templates of each kind of finding, and of messages; a folder's replace some, in a sandbox. Values are
handed in as cleaned text; nothing in a value is ever read as a template.
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, DictLoader, FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from telnyx_porting import links
from telnyx_porting.escaping import LONG, as_data, identity, one_line
from telnyx_porting.flows.findings import wording as words
from telnyx_porting.flows.findings.kind import Told
from telnyx_porting.flows.findings.kinds import KINDS, kind_of
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
OURS = Path(__file__).parents[2] / "templates" / "alerts"
MOST = 20_000  # characters of a rendered text
_NEXT_STEP = """
{% if owner %}Owner: {{ owner }}.{% endif %}
{% if note %}Note: {{ note }}.{% endif %}
Who: {{ who }}.{% if next %} Next: {{ next }}.{% endif %}
"""
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


def sentence(finding: Mapping[str, Any], action: str, facts: Facts, *, current: bool = True, leads: bool = True) -> str:
    """Return what to tell a person about one finding; where its words fail, that there is one: it is never silent.

    :param leads: begins with a word for what happened; not in a list.
    """
    name = "over" if action == AlertAction.RESOLVED or not current else finding["kind"]
    said = _said(name, facts.settings.alert_templates, finding, action, facts, current)
    said = said or _short(finding, action, facts, "its words cannot be made")
    return said if leads else said.removeprefix(f"{_lead(action, facts)}: ")


def line(finding: Mapping[str, Any], facts: Facts) -> str:
    """Return what is true, in our own words, for a list in which owner, note and next step have places of their own."""
    said = _said(f"{finding['kind']}.line", "", finding, AlertAction.FIRING, facts, True)
    said = said.removeprefix(f"{_lead(AlertAction.FIRING, facts)}: ")
    return said or f"{one_line(finding['key'])} (its words cannot be made)"


def _said(name: str, folder: str, finding: Mapping[str, Any], action: str, facts: Facts, current: bool) -> str:
    """Render a template about a finding; where that fails, nothing."""
    try:
        return " ".join(render(name, folder, **_view(finding, action, facts, current)).split())
    except Exception as error:  # one odd row must not keep the others from being told
        log.exception("the words of finding %r of %s", finding["key"], facts.account)
        facts.failed[finding["key"]] = type(error).__name__
        return ""


def _short(finding: Mapping[str, Any], action: str, facts: Facts, why: str = "this channel refused more words") -> str:
    return f"{_lead(action, facts)}: {one_line(finding['key'])} ({why}: see Telnyx's portal)."


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


@lru_cache(maxsize=16)
def _environment(folder: str) -> ImmutableSandboxedEnvironment:
    findings = {f"{kind.name}.txt.j2": kind.template + _NEXT_STEP for kind in KINDS}
    findings |= {f"{kind.name}.line.txt.j2": kind.template for kind in KINDS}  # where the rest has places of its own
    ours = ChoiceLoader([DictLoader(findings), FileSystemLoader(OURS)])
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folder) if folder else ours,
        undefined=StrictUndefined,
        autoescape=False,
    )


def render(name: str, folder: str, **values: Any) -> str:
    """Render `<name>.txt.j2`, from the folder when it has it and it works, else from ours.

    :param folder: people's own templates; empty: none.
    """
    file = f"{name}.txt.j2"
    if folder and (Path(folder) / file).is_file():
        try:
            return _compact(_environment(folder).get_template(file).render(values))
        except Exception as error:  # people's template, whatever it does, must not silence an alert
            log.warning("template %s does not work, ours is used: %s", Path(folder) / file, type(error).__name__)
    return _compact(_environment("").get_template(file).render(values))


def _compact(text: str) -> str:
    """Drop the empty lines that a template's conditions leave."""
    return "\n".join(line.strip() for line in text[:MOST].splitlines() if line.strip())
