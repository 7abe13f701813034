"""Blocks and parts of messages: whatever findings say, nothing is lost, nothing is alive, no limit is passed."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_porting.escaping import for_slack, one_line
from telnyx_porting.flows.alerts.bodies import LARGEST_OF, body, mail, too_large
from telnyx_porting.flows.alerts.channels import Channel, Message
from telnyx_porting.flows.alerts.rich import parts_of
from telnyx_porting.links import console, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

AIR = "https://air.example.com"
LIMITS = {"header": 150, "section": 3_000, "field": 2_000, "button": 75}  # https://docs.slack.dev/reference/block-kit
PIECES = ["<!channel>", "<@U1>", "<http://evil|x>", "@here", "[x](http://evil)", "*b*", ":smile:", "&amp;", " Who: "]
HOSTILE = '<!channel> @here <script>alert(1)</script> [x](http://evil) &amp; "quoted"'
WORDS = st.one_of(
    st.lists(st.sampled_from([*PIECES, ". ", "word ", "\u00eb", "<" * 200]), min_size=1, max_size=20).map("".join),
    st.text(min_size=1, max_size=60),
    st.integers(1, 6).map(lambda times: "<&> " * 10**times if times < 5 else "x" * 9_000),
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Messages as the watch makes them: lines cleaned, groups with a headline, some text about no finding."""
    said = [f"ACT: {one_line(words, 8_000)}" for words in draw(st.lists(WORDS, max_size=12))]
    made = [_entry(number, text, draw(st.booleans())) for number, text in enumerate(said)]
    only = len(said) == 1 and draw(st.booleans())
    more = [one_line(words, 8_000) for words in draw(st.lists(WORDS, max_size=60))]
    text = said[0] if only else "\n".join(["ACT: many.", *(f"- {text}" for text in said), *more])
    url = draw(st.sampled_from(["", console(AIR, "a")]))
    return Message(
        "a", draw(st.sampled_from(["firing", "digest"])), tuple(made), "d", text, datetime(2026, 10, 1, tzinfo=UTC), url
    )


def _entry(number: int, text: str, has_order: bool) -> dict[str, Any]:
    key, order_id = f"exception:{number}", str(number) if has_order else None
    return {
        "key": key,
        "severity": "high",
        "since": "2026-09-30T00:00:00+00:00",
        "order_id": order_id,
        "customer_reference": text,
        "text": text,
        "url": finding(AIR, "a", key, order_id),
    }


def texts(value: Any) -> Iterator[dict[str, Any]]:
    """Every text object of blocks."""
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(inner)
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        yield value


def about(*said: str, more: tuple[str, ...] = ()) -> Message:
    """One finding alone, or several with a headline."""
    entries = tuple(_entry(number, text, True) for number, text in enumerate(said))
    whole = said[0] if len(said) == 1 else "\n".join(["ACT: many.", *(f"- {text}" for text in said), *more])
    return Message("a", "firing", entries, "d", whole, datetime(2026, 10, 1, tzinfo=UTC), console(AIR, "a"))


EDGES = {
    "a long headline": about(f"ACT: {'<' * 120}{'x' * 100}. More. Who: us. Next: look."),
    "hostile facts": about(f"ACT: {HOSTILE}. More. Who: us. Next: look."),
    "as many lines as blocks hold": about(*(f"ACT: {number}" for number in range(48))),
    "a line too many": about(*(f"ACT: {number}" for number in range(49))),
    "as much text as was measured": about(*("ACT: " + "x" * 2_900 for _ in range(3))),
    "too much text": about(*("ACT: " + "x" * 2_900 for _ in range(4))),
    "too many bytes": about(*("ACT: " + "\u00eb" * 2_500 for _ in range(3))),
    "a line that no section takes": about("ACT: x.", "ACT: " + "x" * 3_000),
}
WITH_BLOCKS = {"a long headline", "hostile facts", "as many lines as blocks hold", "as much text as was measured"}


@pytest.mark.parametrize("name", EDGES)
def test_what_fits_into_blocks_is_blocks_and_all_else_is_text(name: str) -> None:
    message = EDGES[name]
    sent = body(Channel("c:slack", "c", "slack"), message)
    assert ("blocks" in sent) is (name in WITH_BLOCKS)
    assert sum(len(text["text"]) for text in texts(sent.get("blocks", []))) <= 9_500
    check_slack(message)
    check_mail(message)


def test_a_mail_is_as_large_as_both_its_parts() -> None:
    message = about("ACT: x.", "ACT: " + "<" * 60_000)
    assert too_large(Channel("mail:a", "c", "mail"), message) > 1


@given(messages())
def test_slack_takes_it_and_reads_it_as_text(message: Message) -> None:
    check_slack(message)


def check_slack(message: Message) -> None:
    sent = body(Channel("c:slack", "c", "slack"), message)
    made = sent.get("blocks", [])
    assert len(json.dumps(sent)) <= LARGEST_OF["slack"] or not made
    assert len(made) <= 50
    assert all(len(text["text"]) > 0 and text["type"] == "plain_text" for text in texts(made))
    for block in made:
        if "text" in block:
            assert len(block["text"]["text"]) <= LIMITS[block["type"]]
        fields = block.get("fields", [])
        assert len(fields) <= 10
        assert all(len(field["text"]) <= LIMITS["field"] for field in fields)
        buttons = [*block.get("elements", []), *([block["accessory"]] if "accessory" in block else [])]
        assert all(len(button["text"]["text"]) <= LIMITS["button"] for button in buttons)
        assert all(re.match(r"https://(air\.example|portal\.telnyx)\.com/", button["url"]) for button in buttons)
    for text in [sent["text"], *(text["text"] for text in texts(made))]:
        assert not re.search(r"[<>]|&(?!(amp|lt|gt);)|@(?!\u2060|\.\.\.$)|\]\(", text)
    if made:
        said = "".join(text["text"] for text in texts(made))
        parts = parts_of(message)
        for line in (parts.headline, parts.step, *(line for line, _ in parts.lines)):
            assert for_slack(line) in said
    if not message.url:
        assert sent["text"] == for_slack(message.text)
        assert not made


@given(messages())
def test_parts_say_all_that_the_text_says(message: Message) -> None:
    parts = parts_of(message)
    said = " ".join([parts.headline, *(line for line, _ in parts.lines), parts.step])
    assert _letters(said) == _letters(message.text)


@given(messages())
def test_mail_says_it_twice_and_has_no_markup_but_ours(message: Message) -> None:
    check_mail(message)


def check_mail(message: Message) -> None:
    letter = mail(message)
    assert letter.text.startswith(message.text)
    tags = re.findall("<[^>]*>?", letter.html)
    links = {f'<a href="{html.escape(url)}">' for url in [message.url, *(one["url"] for one in message.findings)]}
    plain = {tag for tag in tags if not re.fullmatch(r"</?(h3|p|table|tr|th|td|b|pre)>|</a>", tag)}
    assert {tag for tag in plain if "portal.telnyx.com" not in tag} <= links
    parts, said = parts_of(message), html.unescape(letter.html)
    assert all(line in said for line in (parts.headline, parts.step, *(line for line, _ in parts.lines)))


def _letters(text: str) -> str:
    return re.sub(r"[\s.-]", "", text)
