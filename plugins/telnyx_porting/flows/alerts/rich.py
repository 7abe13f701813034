"""Messages for channels that can show more than text: taken apart, as blocks of Slack, and as HTML of a mail.

Headline, facts, next step, and buttons that lead to the page where it is done; nothing is lost or said anew. Texts of
blocks are `plain_text`, in which Slack reads no link, no mention and no markup. Limits are those of
https://docs.slack.dev/reference/block-kit (header 150, section 3000, field 2000, 10 fields, button text 75 and url
3000, 50 blocks); all texts together are bounded by what was measured: Slack took 9,597 characters and refused 11,341
(https://github.com/slackapi/bolt-js/issues/2867).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from telnyx_porting.escaping import for_slack, one_line
from telnyx_porting.flows.findings.wording import moment
from telnyx_porting.links import portal

if TYPE_CHECKING:
    from telnyx_porting.flows.alerts.channels import Message

HEADER, SECTION = 150, 3_000  # characters; the others cannot be reached
MOST_BLOCKS = 50
MOST_TEXT = 9_000  # characters in all blocks together

Block = dict[str, Any]
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
    since = finding["since"]
    facts = (
        ("Severity", finding["severity"]),
        ("Since", moment(datetime.fromisoformat(since), message.at, message.zone) if since else ""),
        ("Reference", finding.get("customer_reference")),
        ("Support key", finding.get("support_key")),
        ("Account", message.account),
    )
    return Parts(
        headline,
        ((more, None),) if more else (),
        f"Who: {step}" if who else "",
        tuple((name, one_line(value)) for name, value in facts if value),
    )


def blocks(message: Message) -> list[Block] | None:
    """Return a message's blocks; None where it has no address to lead to, or says more than blocks hold."""
    if not message.url:
        return None
    parts = parts_of(message)
    if any(len(for_slack(said)) > SECTION for said in (parts.headline, parts.step, *(line for line, _ in parts.lines))):
        return None
    only = message.findings[0] if len(message.findings) == 1 else None
    made: list[Block] = [{"type": "header", "text": _text(parts.headline, HEADER)}]
    if len(for_slack(parts.headline)) > HEADER:
        made.append({"type": "section", "text": _text(parts.headline)})
    made += _lines(parts)
    if parts.facts:
        fields = [_text(f"{name}\n{value}") for name, value in parts.facts]
        made.append({"type": "section", "fields": fields})
    if parts.step:
        made.append({"type": "section", "text": _text(parts.step)})
    made.append({"type": "actions", "elements": _buttons(message, only)})
    said = sum(len(text["text"]) for block in made for text in _texts(block))
    return made if len(made) <= MOST_BLOCKS and said <= MOST_TEXT else None


def _lines(parts: Parts) -> list[Block]:
    """Give a line about a finding a button of its own; others share a section."""
    made: list[Block] = []
    shared = ""  # what the last block says, where more may be added to it
    for line, finding in parts.lines:
        longer = f"{shared}\n{line}"
        if finding is not None:
            made.append({"type": "section", "text": _text(line, SECTION), "accessory": _button("Open", finding["url"])})
            shared = ""
        elif shared and len(for_slack(longer)) <= SECTION:
            made[-1]["text"], shared = _text(longer), longer
        else:
            made.append({"type": "section", "text": _text(line)})
            shared = line
    return made


def _buttons(message: Message, only: Finding | None) -> list[Block]:
    if only is None:
        return [_button("Open Port-in", message.url)]
    order_id = only["order_id"]
    first = _button("Open the order" if order_id else "Open Port-in", only["url"])
    return [first, _button("Telnyx's portal", portal(order_id))] if order_id else [first]


def _button(text: str, url: str) -> Block:
    return {"type": "button", "text": _text(text), "url": url}


def _text(text: str, limit: int | None = None) -> Block:
    return {"type": "plain_text", "text": for_slack(text, limit), "emoji": False}


def _texts(block: Block) -> list[Block]:
    return [text for text in [block.get("text"), *block.get("fields", ())] if text]


def html(message: Message) -> str:
    """Return a message as HTML."""
    parts = parts_of(message)
    made = [f"<h3>{escape(parts.headline)}</h3>"]
    for line, finding in parts.lines:
        made.append(f"<p>{escape(line)}{' ' + _anchor('Open', finding['url']) if finding else ''}</p>")
    if parts.facts:
        rows = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in parts.facts)
        made.append(f"<table>{rows}</table>")
    if parts.step:
        made.append(f"<p><b>{escape(parts.step)}</b></p>")
    buttons = [_anchor("Open in Port-in", message.page)]
    if len(message.findings) == 1 and (order_id := message.findings[0]["order_id"]):
        buttons.append(_anchor("Order in Telnyx's portal", portal(order_id)))
    return "\n".join([*made, f"<p>{' | '.join(buttons)}</p>"])


def _anchor(text: str, url: str) -> str:
    return f'<a href="{escape(url)}">{escape(text)}</a>'
