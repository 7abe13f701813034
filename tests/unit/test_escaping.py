"""Foreign text is text everywhere: nothing in it is fetched, clicked or read as markup, and no URL shows a secret."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from telnyx_porting.escaping import address, for_markdown, place

PIECES = """![x](http://evil/q) [x](http://evil) <http://evil> https://evil www.evil.com a@evil.com <img/src=http://evil/q>
&#33;[x](y) ` ** | [x]: ![x] \\ HTTP://EVIL WWW.EVIL.COM mailto:a@evil.com ``` ~~~ ___ <!--""".split()
WORDS = st.one_of(
    st.text(max_size=40),
    st.text(st.sampled_from("\\`*_{}[]()<>#+-.!|~&@:/=\"' \n\r\tax1"), max_size=40),
    st.lists(st.sampled_from([*PIECES, "\n\n# x", "\n- x", " "]), max_size=5).map("".join),
)
INERT = {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}
MARKDOWN = MarkdownIt("commonmark").enable("table")
# what GitHub's dialect, which Airflow reads, makes links of in text whose escapes are read already
BY_ITSELF = re.compile(r"(https?://|www\.)[-.\w]|(?<![^\W_])[-.\w+]+@[-\w]+\.[-\w]", re.IGNORECASE)


@given(WORDS)
def test_foreign_text_in_markdown_is_text(words: str) -> None:
    parsed = MARKDOWN.parse(f"It says: {for_markdown(words)}.")
    inside = [child for token in parsed for child in token.children or ()]
    assert {token.type for token in parsed + inside} <= INERT
    assert not BY_ITSELF.search("".join(child.content for child in inside))


@given(WORDS)
def test_foreign_text_in_a_table_stays_in_its_cell(words: str) -> None:
    html = MARKDOWN.render(f"| a | b |\n|---|---|\n| {for_markdown(words)} | last |\n")
    assert html.count("<td>") == 2
    assert "<td>last</td>" in html
    assert not re.search("<(img|a|h1|code|em|strong)[ >]", html)


def test_what_is_escaped_reads_as_it_was() -> None:
    said = "3 events: host/p_1 (will get 2 of 3) [x] | `z` #1 50% ~ a\\b!"
    assert MARKDOWN.render(for_markdown(said)) == f"<p>{said}</p>\n"
    plain = "Goes to: crm.example.com/hook (missed it), 1 event."
    assert for_markdown(plain) == plain


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://crm.example.com/hook?token=S3CRET", "https://crm.example.com/hook"),
        ("https://user:S3CRET@crm.example.com:8443/hook#S3CRET", "https://crm.example.com:8443/hook"),
        ("https://crm.example.com", "https://crm.example.com"),
        ("crm.example.com/hook", "crm.example.com/hook"),
        ("desk@example.com", "desk@example.com"),
    ],
)
def test_a_url_is_shown_as_host_and_path(url: str, shown: str) -> None:
    assert address(url) == shown


HOSTS = st.sampled_from(["crm.example.com", "crm.example.com:8443", "[::1]:80", "h", "[::1", "a:b:c", "h:99999999"])


@given(HOSTS, st.text(max_size=20), st.sampled_from(["?t=", "?", "#"]), st.booleans())
def test_no_url_shows_its_query_its_fragment_or_its_user(host: str, path: str, mark: str, with_scheme: bool) -> None:
    scheme = "https://" if with_scheme else ""
    for said in (f"{scheme}{host}/{path}{mark}S3CRET", f"{scheme}me:S3CRET@{host}/"):
        for show in (place, address):
            assert "S3CRET" not in show(said)
