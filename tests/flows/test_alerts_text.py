"""What alerts say: sentences a person can act on, and foreign text that stays text."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.alerts.bodies import body, mail
from telnyx_porting.flows.alerts.channels import Channel, Message
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.flows.findings.exception_codes import HINTS, hint_for
from telnyx_porting.links import PORTAL
from tests.support.rejected import MONDAY, exception, met
from tests.support.watched import Watched, order_id, quick

if TYPE_CHECKING:
    from pathlib import Path

    from telnyx_porting.ledger.engine import Ledger

CONSOLES = ["", "https://air.example.com/flow"]
HOSTILE = (
    "{{ conn.telnyx_default.password }}{{ 7*7 }}{% for x in y %}<!channel> @here <script>alert(1)</script>"
    "![x](http://evil.example/x.png) [click](http://evil.example)\r\nBcc: everybody@example.net\x00\ud800\u202e"
)


def text(watched: Watched) -> str:
    watched.cycle()
    return watched.sent[-1][1].text


def test_exception_says_what_who_and_next(ledger: Ledger) -> None:
    watched = met(ledger)
    exception(watched, said="LOA must be signed with a wet signature")
    assert text(watched) == (
        "ACT: exception, north-branch-17 (sr_4d71e9), 12 local US numbers. 2nd rejection, 3 h old, requested FOC 2 Oct"
        " (in 4 working days). Carrier says: LOA must be signed with a wet signature. Who: us/customer."
        " Next: upload a readable LOA, then confirm again."
    )


def test_reason_comes_from_the_event_then_our_hint_then_the_provider(ledger: Ledger) -> None:
    watched = met(ledger)
    with ledger.write() as connection:
        known = {"BRAND_NEW": "Something new is wrong"}
        touch_feed(ledger, connection, watched.account, "exception_types", known=known)
    raw = watched.raw_status(1, "exception", "POSTAL_CODE_MISMATCH", "LSR_PENDING", "BRAND_NEW", "NEVER_HEARD_OF")
    details = raw["payload"]["status"]["details"]
    details[0]["description"] = "ZIP is 94105"
    for detail in details[1:]:
        detail["description"] = None
    watched.tell(raw)
    said = text(watched)
    assert "Carrier says: ZIP is 94105; LSR_PENDING: another change is open at the losing carrier" in said
    assert "BRAND_NEW: Something new is wrong; NEVER_HEARD_OF." in said


def test_events_description_outlives_an_order_that_gives_none(ledger: Ledger) -> None:
    watched = met(ledger)
    exception(watched, said="LOA must be signed with a wet signature")
    watched.reading(1, "exception", "LOA_ILLEGIBLE", at=MONDAY - timedelta(hours=2))
    assert "Carrier says: LOA must be signed with a wet signature." in text(watched)


def test_exception_that_only_the_order_shows_says_so(ledger: Ledger) -> None:
    watched = met(ledger)
    watched.reading(1, "exception", "OTHER")
    assert "Seen on the order; no event yet." in text(watched)


def test_every_published_code_has_a_hint_also_under_its_old_name() -> None:
    assert len(HINTS) == 22
    assert hint_for("TN_NOT_PORTABLE") == hint_for("PHONE_NUMBER_NOT_PORTABLE")
    assert hint_for("NEVER_HEARD_OF") is None


@pytest.mark.parametrize(
    ("mode", "there", "not_there"),
    [
        ("ids", [order_id(1), "LOA_ILLEGIBLE"], ["north-branch", "sr_4d71e9", "wet signature", "last invoice"]),
        ("references", ["north-branch", "sr_4d71e9", "wet signature"], ["last invoice"]),
        ("full", ["north-branch", "sr_4d71e9", "wet signature", "last invoice"], []),
    ],
)
def test_alerts_carry_what_may_be_told(ledger: Ledger, mode: str, there: list[str], not_there: list[str]) -> None:
    watched = met(ledger, alert_details=mode)
    exception(watched, said="a wet signature is needed")
    watched.comment(1, "admin", "Please send the last invoice.", at=MONDAY - timedelta(hours=2))
    watched.cycle()
    whole = json.dumps([vars(message)["findings"] for _, message in watched.sent]) + watched.sent[-1][1].text
    for part in there:
        assert part in whole
    for part in not_there:
        assert part not in whole


def hostile_message(ledger: Ledger, console: str = "") -> Message:
    watched = met(ledger, alert_details="full", console_url=console)
    exception(watched, reference=HOSTILE, said=HOSTILE, code=HOSTILE)
    watched.comment(1, "admin", HOSTILE + "x" * 1_000_000, at=MONDAY - timedelta(hours=2))
    watched.cycle()
    return watched.sent[-1][1]


@pytest.mark.parametrize("console", CONSOLES)
def test_hostile_text_is_literal_and_short_in_every_channel(ledger: Ledger, console: str) -> None:
    message = hostile_message(ledger, console)
    assert "{{ conn.telnyx_default.password }}{{ 7*7 }}{% for x in y %}" in message.text
    assert "49" not in message.text.replace("4d71e9", "")
    assert len(message.text) < 10_000
    assert all(ord(char) >= 32 or char == "\n" for char in message.text)
    for kind in ("json", "slack", "pagerduty", "alertmanager"):
        sent = json.dumps(body(Channel(f"c:{kind}", "c", kind), message, "secret"))
        assert len(sent) < 40_000
        json.loads(sent.encode())
    assert "\\ud800" not in sent


@pytest.mark.parametrize("console", CONSOLES)
def test_slack_gets_no_mention_no_link_and_fetches_nothing(ledger: Ledger, console: str) -> None:
    sent = body(Channel("c:slack", "c", "slack"), hostile_message(ledger, console))
    assert (sent["mrkdwn"], sent["unfurl_links"], sent["unfurl_media"]) == (False, False, False)
    assert ("blocks" in sent) is bool(console)
    assert "&lt;!channel&gt;" in sent["text"]
    said = json.dumps(sent)
    for alive in ("<", "](http", "@here", "mrkdwn_", '"mrkdwn"}'):
        assert alive not in said.replace('"mrkdwn": false', "")


@pytest.mark.parametrize("console", CONSOLES)
def test_mail_is_one_subject_line_and_no_markup_but_ours(ledger: Ledger, console: str) -> None:
    letter = mail(hostile_message(ledger, console))
    assert "\n" not in letter.subject
    assert "\r" not in letter.subject
    assert len(letter.subject) < 250
    assert "&lt;script&gt;" in letter.html
    tags = set(re.findall("<[^>]*>?", letter.html))
    ours = {"<pre>", "</pre>"}
    if console:
        page = f"{console}/telnyx-porting/orders/{order_id(1)}?account=telnyx_default#finding"
        anchors = {f'<a href="{url}">' for url in (page, f"{PORTAL}/orders/{order_id(1)}")}
        ours = anchors | {f"<{end}{tag}>" for tag in "h3 p table tr th td b a".split() for end in ("", "/")} - {"<a>"}
        assert letter.text.endswith(f"\n\n{page}")
    assert tags <= ours
    assert letter.identity.startswith("<")


def test_pagerduty_event(ledger: Ledger) -> None:
    watched = met(ledger, alert_channels=("p:pagerduty",))
    exception(watched)
    watched.cycle()
    watched.status(1, "submitted")
    watched.cycle()
    channel = Channel("p:pagerduty", "p", "pagerduty")
    fired, over = (body(channel, message, "R0UTING") for _, message in watched.sent)
    identity = f"{watched.account}/exception:{order_id(1)}/1"
    assert (fired["routing_key"], fired["event_action"], fired["dedup_key"]) == ("R0UTING", "trigger", identity)
    assert (over["event_action"], over["dedup_key"]) == ("resolve", identity)
    assert fired["payload"]["severity"] == "error"
    assert fired["payload"]["source"] == watched.account
    assert fired["payload"]["summary"].startswith("ACT: exception, north-branch-17")
    assert fired["payload"]["timestamp"] == (MONDAY - timedelta(hours=3)).isoformat()


def test_alertmanager_alerts_fire_under_one_severity_and_end(ledger: Ledger) -> None:
    watched = met(ledger, alert_channels=("am:alertmanager",))
    stuck = watched.event("status_changed", 1, None, MONDAY - timedelta(hours=3, minutes=59))
    watched.cycle()
    watched.later(minutes=5)
    watched.cycle()
    watched.status(1, "submitted", id=stuck)
    watched.cycle()
    channel = Channel("am:alertmanager", "am", "alertmanager")
    fired, changed, over = (body(channel, message) for _, message in watched.sent)

    def live(alerts: list[dict[str, Any]], at: datetime) -> dict[str, bool]:
        return {alert["labels"]["severity"]: datetime.fromisoformat(alert["endsAt"]) > at for alert in alerts}

    soon = watched.now + timedelta(minutes=1)
    assert live(fired, soon) == {"low": True}
    assert live(changed, soon) == {"critical": False, "high": True, "low": False}
    assert not any(live(over, soon).values())
    assert {alert["labels"]["key"] for alert in fired + changed + over} == {f"stuck:{stuck}"}


def test_own_template_replaces_ours_and_a_broken_one_does_not_silence(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "exception.txt.j2").write_text("{{ label }} brennt seit {{ age }}")
    watched = met(ledger, alert_templates=str(tmp_path))
    exception(watched)
    assert text(watched) == "north-branch-17 (sr_4d71e9) brennt seit 3 h"
    (tmp_path / "over.txt.j2").write_text("{{ label.__class__.__mro__ }}{{ nothing.there }}")
    watched.later(minutes=1)
    watched.status(1, "submitted")
    assert text(watched).startswith("RESOLVED: exception, north-branch-17")


def test_group_shows_the_worst_first_and_counts_the_rest(ledger: Ledger) -> None:
    watched = met(ledger)
    for order in range(2, 30):
        watched.status(order, "exception", "OTHER", at=MONDAY + timedelta(seconds=order))
    said = text(watched).splitlines()
    assert said[0] == "ACT: 28 findings of telnyx_default (28 exception)."
    assert len(said) == 12
    assert "branch-2 " in said[1]
    assert said[-1] == "... and 18 more."


def test_first_look_is_one_incident(ledger: Ledger) -> None:
    settings = quick(alert_channels=("p:pagerduty",))
    watched = Watched(ledger, settings, now=MONDAY)
    for order in range(60):
        watched.status(order, "exception", "OTHER", at=MONDAY - timedelta(days=1))
    watched.cycle()
    ((_, message),) = watched.sent
    event = body(Channel("p:pagerduty", "p", "pagerduty"), message, "R0UTING")
    assert (event["event_action"], event["payload"]["severity"]) == ("trigger", "error")
    assert event["payload"]["summary"] == "FIRST LOOK: 60 things need somebody on telnyx_default now (60 exception)."


def test_the_first_looks_incident_ends_when_all_it_told_is_over(ledger: Ledger) -> None:
    watched = Watched(ledger, quick(alert_channels=("p:pagerduty",)), now=MONDAY)
    channel = Channel("p:pagerduty", "p", "pagerduty")

    def incidents() -> dict[str, str]:
        sent = [body(channel, message, "R0UTING") for _, message in watched.sent]
        return {event["dedup_key"]: event["event_action"] for event in sent}

    for order in range(3):
        watched.status(order, "exception", "OTHER", at=MONDAY - timedelta(days=1))
    watched.cycle()
    (first,) = incidents()
    watched.later(minutes=1)
    watched.status(7, "exception", "OTHER")  # told apart, and no part of the first
    watched.cycle()
    for order in range(3):
        assert incidents()[first] == "trigger"
        watched.status(order, "submitted")
        watched.broken = {"p:pagerduty"} if order == 2 else set()
        watched.cycle()
    watched.broken.clear()
    watched.later(hours=1)
    watched.cycle()
    assert incidents()[first] == "resolve"
    assert list(incidents().values()).count("trigger") == 1, "the other exception goes on"
    watched.sent.clear()
    watched.later(hours=1)
    watched.cycle()
    assert incidents() == {}
