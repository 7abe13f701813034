"""The pages on a ledger full of things, of which foreign ones mean harm; on an empty one; and for who may only look."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from include.sandbox.testing import running_sandbox
from tests.scenarios.loop import loop
from tests.support.airflow_server import ACTS, CONSOLE, Server, airflow_server
from tests.support.console_world import EVIL, FOREIGN, World, fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST = 200_000  # bytes of a first view


@pytest.fixture(scope="module")
def full(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, World, str]]:
    """A server on a ledger in which much has happened, what that was, and a secret that must not be seen."""
    home = tmp_path_factory.mktemp("full")
    with running_sandbox() as sandbox, loop(sandbox, home) as running, pytest.MonkeyPatch.context() as patch:
        world = fill(running)
        patch.setenv("TELNYX_PORTING_LEDGER_URL", str(running.ledger.url))
        patch.setenv("AIRFLOW_CONN_TELNYX_DEFAULT", f'{{"conn_type": "telnyx", "password": "{sandbox.api_key}"}}')
        with airflow_server(home) as server:
            yield server, world, sandbox.api_key


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def every_page(server: Server, role: str = "admin") -> dict[str, str]:
    """Every page that links lead to, from the first on, with all its filters."""
    browser, found, ahead = server.browser(role), {}, [f"{CONSOLE}/"]
    while ahead:
        path = ahead.pop()
        answer = browser.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:2000]}"
        found[path] = answer.text
        if len(found) < 250:
            links = (attrs.get("href") or "" for tag, attrs in Tags(answer.text).seen if tag == "a")
            ahead += [
                each for each in dict.fromkeys(links) if each.startswith(CONSOLE) and each not in (*found, *ahead)
            ]
    return found


def test_every_link_leads_somewhere_and_nothing_foreign_acts(full: tuple[Server, World, str]) -> None:
    server, world, secret = full
    pages = every_page(server)
    kinds = {re.sub(r"[0-9a-f-]{36}", "ID", path.partition("?")[0]) for path in pages}
    assert {f"{CONSOLE}/{name}" for name in ("orders/ID", "events/ID", "plans/ID", "missed", "health")} <= kinds
    wrong = []
    for path, text in pages.items():
        for tag, attrs in Tags(text).seen:
            wrong += [f"{path}: <{tag}>" for bad in ("img", "iframe", "object", "style", "base", "embed") if tag == bad]
            wrong += [f"{path}: {tag} {name}" for name in attrs if name.startswith("on") or name == "style"]
            for name in ("href", "src", "action"):
                value = attrs.get(name) or "/"
                if not value.startswith(("/", "#", "https://portal.telnyx.com/")):
                    wrong.append(f"{path}: {tag} {name}={value}")
        wrong += [f"{path}: the key is seen"] if secret in text else []
        wrong += [f"{path}: {len(text)} bytes"] if len(text) > LARGEST else []
        wrong += [f"{path}: {text.count('<script')} scripts"] if text.count("<script") != 1 else []
        wrong += [f"{path}: a hidden mark"] if re.search("[\u202e\u200b\x00]", text) else []
    assert wrong == []
    talk = pages[f"{CONSOLE}/orders/{world.orders['hostile']}?account=telnyx_default"]
    assert "{{ conn.telnyx_default.password }}" in talk, "no template is rendered, and the text is shown as it is"
    assert f"&lt;script src={EVIL}/s&gt;" in talk
    assert FOREIGN[-1] not in talk
    assert "north\ufffd\ufffdhtuos &lt;b&gt;" in talk


def test_counts_lead_to_their_rows(full: tuple[Server, World, str]) -> None:
    server, world, _ = full
    browser = server.browser("viewer")
    first = browser.get(f"{CONSOLE}/").text
    links = re.findall(r'href="([^"]+)">Act now</a> <span class="count">(\d+)<', first)
    assert links
    for href, count in links:
        rows = browser.get(href.replace("&amp;", "&")).text
        assert f'<span class="count">{count}</span>' in rows
    missed = browser.get(f"{CONSOLE}/missed").text
    assert f'<span class="count">{len(world.missed)}</span>' in missed


def test_who_may_only_look_has_nothing_to_press(full: tuple[Server, World, str]) -> None:
    for path, text in every_page(full[0], "viewer").items():
        tags = Tags(text).seen
        assert not any(attrs.keys() & {"data-command", "data-run"} for _, attrs in tags), path
        assert not any(tag == "button" and attrs.get("value") for tag, attrs in tags), path


def test_an_action_over_a_filter_takes_all_its_pages_and_says_what_failed(full: tuple[Server, World, str]) -> None:
    browser = full[0].browser("op")
    url = f"{CONSOLE}/findings/own"
    everything = browser.post(url, json={"where": {"who": "all"}}, headers=ACTS).json()
    assert everything["done"] > 3
    assert everything["failed"] == 0
    mine = browser.post(f"{CONSOLE}/findings/release", json={"where": {"who": "mine"}}, headers=ACTS).json()
    assert mine["done"] == everything["done"]
    answer = browser.post(url, json={"keys": ["question:nobody", "health:nothing"]}, headers=ACTS).json()
    assert (answer["done"], answer["failed"]) == (0, 2)
    assert "2 failed" in answer["text"]
    assert "question:nobody" in answer["text"]


@pytest.mark.parametrize("path", ["", "findings", "orders", "missed", "plans", "health"])
def test_an_empty_ledger_says_what_to_do(console: Server, path: str) -> None:
    text = console.browser("viewer").get(f"{CONSOLE}/{path}").text
    assert "Nothing was read yet." in text
    assert "porting_scan" in text


@pytest.mark.parametrize(
    "path",
    ["orders?foc=tomorrow", "orders?sort=name;drop", "orders?page=0", "missed?state=lost", "orders/x?before=then"]
    + [
        "missed?since=2026-01-01",
        "orders?foc=2026-13-45",
        "orders?page=999999999999",
        "?who=him",
        "findings?section=x",
    ],
)
def test_an_odd_address_is_answered_in_words(console: Server, path: str) -> None:
    answer = console.browser("viewer").get(f"{CONSOLE}/{path}")
    assert answer.status_code in (200, 400, 404, 422)
    assert "<h1>" in answer.text


@pytest.mark.parametrize(
    "odd", ["..%2f..%2fetc%2fpasswd", "%00", "a" * 3000, "<script>", "%ff%fe", "\u202e", "{{7*7}}"]
)
def test_an_odd_name_is_not_found(console: Server, odd: str) -> None:
    for kind in ("orders", "events", "plans", "static"):
        answer = console.browser("viewer").get(f"{CONSOLE}/{kind}/{odd}")
        assert answer.status_code in (404, 422), answer.text
        assert "<script>" not in answer.text
