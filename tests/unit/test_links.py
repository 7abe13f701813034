"""Addresses: each leads to the page it names, whatever ids are made of."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_porting.errors import SettingsError
from telnyx_porting.links import LONGEST, PORTAL, console, finding, portal
from telnyx_porting.settings import load

AIR = "https://air.example.com/flow"
ODD = st.one_of(st.text(max_size=40), st.sampled_from(["", ".", "..", "a/../b", "x" * 3_000, "\u00eb" * 900, "?#&="]))
SENDABLE = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (console(AIR), f"{AIR}/telnyx-porting/"),
        (console(AIR, "north desk"), f"{AIR}/telnyx-porting/?account=north+desk"),
        (console(AIR, "a", "plans", "p1"), f"{AIR}/telnyx-porting/plans/p1?account=a"),
        (console(AIR, "a", "orders", "x/y"), f"{AIR}/telnyx-porting/orders/x%2Fy?account=a"),
        (console(AIR, "a", "orders", ".."), f"{AIR}/telnyx-porting/?account=a"),
        (console("", "a", "missed"), ""),
        (finding(AIR, "a", "k", "o1"), f"{AIR}/telnyx-porting/orders/o1?account=a#finding"),
        (finding(AIR, "a", "health:key_refused", None), f"{AIR}/telnyx-porting/?account=a&key=health%3Akey_refused"),
        (finding("", "a", "k", "o1"), ""),
        (portal("o 1"), f"{PORTAL}/orders/o%201"),
        (portal(None), PORTAL),
    ],
)
def test_addresses_are_those_of_the_pages(made: str, expected: str) -> None:
    assert made == expected


@given(ODD, ODD, ODD)
def test_an_address_stays_one_below_the_console_whatever_an_id_is(account: str, key: str, order_id: str) -> None:
    for url in (console(AIR, account, "plans", key), finding(AIR, account, key, order_id)):
        assert all("!" <= char <= "~" for char in url)
        assert len(url) <= LONGEST or len(account) > 40
        assert url.startswith(f"{AIR}/telnyx-porting/")
        assert urlsplit(url).path.count("/") <= 4
        assert not {".", ".."} & set(urlsplit(url).path.split("/"))
    assert len(portal(order_id)) <= LONGEST


@given(SENDABLE, SENDABLE.filter(lambda text: text not in ("", ".", "..")))
def test_an_address_gives_back_what_it_was_made_of(account: str, order_id: str) -> None:
    parts = urlsplit(finding(AIR, account, "key", order_id))
    if parts.fragment:
        assert unquote(parts.path.rpartition("/")[2]) == order_id
        assert dict(parse_qsl(parts.query)) == ({"account": account} if account else {})
    else:
        assert len(order_id) > 30, "only what is very long leads to the first page"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", ""),
        ("https://air.example.com/", "https://air.example.com"),
        ("http://[::1]:8080/x/", "http://[::1]:8080/x"),
    ],
)
def test_where_the_console_is_is_an_address(written: str, read: str) -> None:
    settings = load(environ={"TELNYX_PORTING_CONSOLE_URL": written})
    assert (settings.console_url, settings.problems) == (read, ())


@pytest.mark.parametrize(
    "written",
    ["air.example.com", "/", "javascript:alert(1)", "ftp://air", "https://", "https://me:pw@air", "https://air?x=1"]
    + [
        "https://air/#x",
        "https://air /",
        'https://air/"><b>',
        "https://a\u00efr",
        "https://[",
        "https://air/" + "x" * 500,
    ],
)
def test_what_is_no_address_is_named_and_leads_nowhere(written: str) -> None:
    settings = load(environ={"TELNYX_PORTING_CONSOLE_URL": written})
    assert settings.console_url == ""
    with pytest.raises(SettingsError, match="TELNYX_PORTING_CONSOLE_URL"):
        settings.require_valid()
