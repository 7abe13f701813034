"""A message as blocks of Slack: headline, facts, next step, and buttons that lead to the page where it is done.

Texts are `plain_text`, in which Slack reads no link, no mention and no markup. Limits are those of
https://docs.slack.dev/reference/block-kit (header 150, section 3000, field 2000, 10 fields, button text 75 and url
3000, 50 blocks); all texts together are bounded by what was measured: Slack took 9,597 characters and refused 11,341
(https://github.com/slackapi/bolt-js/issues/2867).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telnyx_porting.escaping import for_slack
from telnyx_porting.flows.alerts.parts import parts_of
from telnyx_porting.links import portal

if TYPE_CHECKING:
    from telnyx_porting.flows.alerts.channels import Message
    from telnyx_porting.flows.alerts.parts import Finding, Parts

HEADER, SECTION = 150, 3_000  # characters; the others cannot be reached
MOST_BLOCKS = 50
MOST_TEXT = 9_000  # characters in all blocks together

Block = dict[str, Any]


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
    shared: list[str] = []

    def flush() -> None:
        if shared:
            made.append({"type": "section", "text": _text("\n".join(shared))})
            shared.clear()

    for line, finding in parts.lines:
        if finding is None and len(for_slack("\n".join([*shared, line]))) <= SECTION:
            shared.append(line)
            continue
        flush()
        if finding is None:
            shared.append(line)
        else:
            made.append({"type": "section", "text": _text(line, SECTION), "accessory": _button("Open", finding["url"])})
    flush()
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
