"""What an alert says, as plain text and as fields. Customer text is data here; each channel escapes it for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LEAD = {"firing": "ACT", "changed": "CHANGED", "reminder": "STILL OPEN", "resolved": "RESOLVED"}


def entry(
    row: Mapping[str, Any], finding: Mapping[str, Any], order: Mapping[str, Any] | None, action: str
) -> dict[str, Any]:
    """Return one finding of a message as JSON."""
    current = finding["turn"] == row["turn"]
    return {
        "key": row["key"],
        "turn": row["turn"],
        "kind": finding["kind"],
        "subject": finding["subject"],
        "order_id": finding["order_id"],
        "severity": finding["severity"],
        "since": finding["since"].isoformat() if current else None,
        "detail": finding["detail"] if current else {},
        "customer_reference": order["customer_reference"] if order else None,
        "support_key": order["support_key"] if order else None,
        "text": f"{_LEAD[action]}: {_what(finding, order, current)}",
    }


def headline(account: str, action: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of a whole message."""
    if len(entries) == 1:
        return str(entries[0]["text"])
    return f"{_LEAD[action]}: {len(entries)} findings of {account}"


def _what(finding: Mapping[str, Any], order: Mapping[str, Any] | None, current: bool) -> str:
    kind, detail = finding["kind"], finding["detail"] if current else {}
    label = _label(finding, order)
    if kind == "exception":
        part = "messaging exception" if detail.get("messaging") else "exception"
        said = "; ".join(str(text or code) for code, text in detail.get("codes", ()))
        return f"{part}, {label}" + (f". Carrier says: {said}" if said else "")
    if kind == "stuck":
        return f"event {finding['subject']} of {label} has no payload yet"
    if kind == "given_up":
        return f"the notification of event {finding['subject']} of {label} never arrived"
    return str(detail.get("text") or finding["subject"])


def _label(finding: Mapping[str, Any], order: Mapping[str, Any] | None) -> str:
    if order and (order["customer_reference"] or order["support_key"]):
        return " / ".join(str(part) for part in (order["customer_reference"], order["support_key"]) if part)
    return f"order {finding['order_id']}"
