"""A message's text taken apart, for channels that can show more than text: nothing of it is lost or said anew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from telnyx_porting.escaping import one_line
from telnyx_porting.flows.findings.wording import moment

if TYPE_CHECKING:
    from telnyx_porting.flows.alerts.channels import Message

Finding = dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """What a message says, in the order in which people read it."""

    headline: str
    lines: tuple[tuple[str, Finding | None], ...]  # with the finding that a line is about
    step: str = ""  # whose step is next, and which
    facts: tuple[tuple[str, str], ...] = ()  # of the only finding


def parts_of(message: Message) -> Parts:
    """Take a message apart: one finding into headline, text, facts and next step; others line by line."""
    first, _, rest = message.text.strip().partition("\n")
    if rest or len(message.findings) != 1:
        about = {finding["text"]: finding for finding in message.findings}
        lines = [line.removeprefix("- ") for line in rest.splitlines()]
        return Parts(first, tuple((line, about.get(line)) for line in lines))
    (finding,) = message.findings
    said, who, step = first.rpartition(" Who: ")  # ours is the last; people's own templates may have none
    headline, _, more = (said or first).partition(". ")
    return Parts(
        headline,
        ((more, None),) if more else (),
        f"Who: {step}" if who else "",
        tuple((name, one_line(value)) for name, value in _facts(message, finding) if value),
    )


def _facts(message: Message, finding: Finding) -> list[tuple[str, str]]:
    since = finding["since"]
    return [
        ("Severity", finding["severity"]),
        ("Since", moment(datetime.fromisoformat(since), message.at, message.zone) if since else ""),
        ("Reference", finding.get("customer_reference") or ""),
        ("Support key", finding.get("support_key") or ""),
        ("Account", message.account),
    ]
