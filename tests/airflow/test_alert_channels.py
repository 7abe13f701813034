"""Every channel over real sockets."""

from __future__ import annotations

import email
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.channels import Channel, ChannelError, Message
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.desk.preflight import _channels
from telnyx_porting.flows.findings.health import health
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.settings import load
from tests.support.mailbox import mailbox
from tests.support.rows import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox

HOSTILE = "{{ conn.telnyx_default.password }}{{ 7*7 }}<!channel>\r\nBcc: everybody@example.net<script>![x](http://evil)"
FINDING: dict[str, Any] = {
    "key": "exception:1",
    "occurrence": 1,
    "dedup_key": f"{ACCOUNT}/exception:1/1",
    "kind": "exception",
    "subject": "1",
    "order_id": "1",
    "severity": "high",
    "since": "2026-10-01T00:00:00+00:00",
    "detail": {},
    "customer_reference": HOSTILE,
    "text": f"ACT: exception, {HOSTILE}",
}
MESSAGE = Message(ACCOUNT, "firing", (FINDING,), "dedup", FINDING["text"], datetime(2026, 10, 1, tzinfo=UTC))


def deliver(kind: str) -> None:
    from telnyx_porting.notifications.deliver import deliver as carry

    carry(Channel(f"alerts:{kind}", "alerts", kind), MESSAGE)


@pytest.mark.parametrize("kind", ["json", "slack", "pagerduty", "alertmanager"])
def test_http_channel_delivers_its_body_with_hostile_text_as_text(home: RunningSandbox, kind: str) -> None:
    deliver(kind)
    (letter,) = home.inbox()
    assert letter["content_type"] == "application/json"
    body = letter["body"]
    shown = json.dumps(body)
    assert "{{ conn.telnyx_default.password }}{{ 7*7 }}" in shown
    assert home.api_key not in shown
    if kind == "slack":
        assert "<!channel>" not in shown
    if kind == "pagerduty":
        assert body["routing_key"] == "S3CRET"
    else:
        assert "S3CRET" not in shown


@pytest.mark.parametrize(("kind", "path"), [("pagerduty", "/v2/enqueue"), ("alertmanager", "/api/v2/alerts")])
def test_connection_with_a_bare_host_gets_the_published_path(
    home: RunningSandbox, connect: Callable[..., str], kind: str, path: str
) -> None:
    connect("alerts", conn_type="http", host=home.origin)
    with pytest.raises(ChannelError, match="answered 40"):
        deliver(kind)  # the simulator is neither of the two: it knows no such path
    connect("alerts", conn_type="http", host=home.inbox_url)
    deliver(kind)
    assert [letter["path"] for letter in home.inbox()] == ["/sandbox/inbox"]


def test_mail_is_one_letter_with_one_subject_and_inert_text(home: RunningSandbox, connect: Callable[..., str]) -> None:
    from telnyx_porting.notifications.deliver import deliver as carry

    with mailbox() as (port, mails):
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "watch@example.net"}
        connect("smtp_default", conn_type="smtp", host="127.0.0.1", port=port, extra=extra)
        carry(Channel("mail", "smtp_default", "mail", "desk@example.net"), MESSAGE)
        (raw,) = mails
    letter = email.message_from_string(raw)
    assert letter["To"] == "desk@example.net"
    assert letter["Bcc"] is None
    assert "ACT: exception, {{ conn.telnyx_default.password }}" in str(letter["Subject"]).replace("\n", "")
    assert letter["Message-ID"].endswith("@telnyx-porting>")
    assert letter.get_content_type() == "multipart/alternative"
    plain, html = letter.get_payload()  # type: ignore[misc]
    assert [part.get_content_type() for part in (plain, html)] == ["text/plain", "text/html"]  # type: ignore[union-attr]
    assert "<script>" in plain.get_payload(decode=True).decode()  # type: ignore[union-attr]
    said = html.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert "<script>" not in said
    assert "&lt;script&gt;" in said


URL = "https://air.example.com/telnyx-porting/orders/1?account=telnyx_default#finding"
LEADING = replace(MESSAGE, findings=({**FINDING, "url": URL},), url="https://air.example.com/telnyx-porting/")


@pytest.mark.parametrize(
    ("kind", "leads"),
    [
        ("json", lambda body: [body["url"] + "orders/1?account=telnyx_default#finding", body["findings"][0]["url"]]),
        ("slack", lambda body: [body["blocks"][-1]["elements"][0]["url"], body["text"].splitlines()[-1]]),
        ("pagerduty", lambda body: [body["links"][0]["href"]]),
        ("alertmanager", lambda body: [alert["generatorURL"] for alert in body]),
    ],
)
def test_every_message_leads_to_its_page(home: RunningSandbox, kind: str, leads: Callable[[Any], list[str]]) -> None:
    from telnyx_porting.notifications.deliver import deliver as carry

    carry(Channel(f"alerts:{kind}", "alerts", kind), LEADING)
    carry(Channel(f"alerts:{kind}", "alerts", kind), MESSAGE)
    leading, plain = (letter["body"] for letter in home.inbox())
    assert set(leads(leading)) == {URL}
    assert "air.example.com" not in json.dumps(plain)


def test_each_recipient_has_an_outcome_of_its_own(
    home: RunningSandbox, connect: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom the server refuses is named, with the server's words; the others get every message once."""
    from telnyx_porting.notifications.deliver import deliver as carry

    monkeypatch.setenv("TELNYX_PORTING_MAIL_TO", 'a@example.com; gone@example.com, "Desk, Porting" <b@example.com>')
    monkeypatch.setenv("TELNYX_PORTING_ALERT_CHANNELS", "mail")
    monkeypatch.setenv("TELNYX_PORTING_DIGEST_AT", "off")
    own = load(ACCOUNT)
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger, mailbox("gone@example.com") as (port, mails):
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "watch@example.net"}
        connect("smtp_default", conn_type="smtp", host="127.0.0.1", port=port, extra=extra)
        account = Account(ledger.ready(), ACCOUNT, own)
        health(account, "key_refused", "Telnyx refuses the key", "critical")
        for _ in range(2):
            result = send_due(account, carry)
        letters = [email.message_from_string(raw) for raw in mails]
        told = [letter["To"] for letter in letters if "refuses the key" in str(letter["Subject"])]
        assert sorted(told) == ["a@example.com", "b@example.com"]
        assert result.failed in (("mail:gone@example.com",), ())
        with ledger.read() as connection:
            lines = [line for line in _channels(connection, ACCOUNT, own) if not line.ok]
    (line,) = lines
    assert line.what == "channel mail:gone@example.com"
    assert "550 5.1.1 no such user" in line.todo


@pytest.mark.parametrize(("status", "too_large"), [(400, False), (413, True), (422, False)])
def test_message_that_is_refused_as_it_is_says_so(
    home: RunningSandbox, connect: Callable[..., str], status: int, too_large: bool
) -> None:
    connect("alerts", conn_type="http", host=home.sink_url(status))
    with pytest.raises(ChannelError, match=f"'alerts' answered {status}") as caught:
        deliver("json")
    assert (caught.value.unfit, caught.value.too_large, caught.value.not_sent) == (True, too_large, True)


def test_mail_server_that_cannot_be_reached_got_nothing(connect: Callable[..., str]) -> None:
    from telnyx_porting.notifications.deliver import deliver as carry

    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "watch@example.net"}
    connect("smtp_default", conn_type="smtp", host="127.0.0.1", port=9, extra=extra)
    with pytest.raises(ChannelError, match="'smtp_default': ConnectionRefusedError") as caught:
        carry(Channel("mail", "smtp_default", "mail", "desk@example.net"), MESSAGE)
    assert caught.value.not_sent


@pytest.mark.parametrize(
    ("status", "not_sent"), [(400, True), (401, True), (404, True), (429, False), (500, False), (302, False)]
)
def test_refused_message_says_whether_it_can_have_arrived(
    home: RunningSandbox, connect: Callable[..., str], status: int, not_sent: bool
) -> None:
    connect("alerts", conn_type="http", host=home.sink_url(status) + "?token=S3CRET")
    with pytest.raises(ChannelError, match=f"'alerts' answered {status}") as caught:
        deliver("json")
    assert caught.value.not_sent is not_sent
    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "said"), [("http://127.0.0.1:9", "ConnectionError"), ("http://[", "no address"), (None, "does not exist")]
)
def test_channel_that_cannot_be_reached_got_nothing(
    home: RunningSandbox, connect: Callable[..., str], monkeypatch: pytest.MonkeyPatch, host: str | None, said: str
) -> None:
    if host is None:
        monkeypatch.delenv("AIRFLOW_CONN_ALERTS")
    else:
        connect("alerts", conn_type="http", host=host)
    with pytest.raises(ChannelError, match=said) as caught:
        deliver("json")
    assert caught.value.not_sent
