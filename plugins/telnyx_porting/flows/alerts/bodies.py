"""The bodies of the HTTP channels. Each is documented by its test; customer text is escaped for where it goes.

``json``: ``{"account", "action": "firing|changed|reminder|resolved|digest", "findings": [{"key", "occurrence",
"dedup_key", "kind", "subject", "order_id", "severity", "since", "detail", "customer_reference", "support_key",
"text", "url"}], "dedup_key", "text", "url"}``. ``slack``: an incoming webhook of Slack, or of a chat that imitates it
and shows the text. ``pagerduty``: Events API v2. ``alertmanager``: API v2. Addresses are left out where it is not known
where the console is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING, Any

from telnyx_porting.escaping import for_slack, identity, one_line
from telnyx_porting.flows.alerts.rich import blocks, html
from telnyx_porting.ledger.states import AlertAction
from telnyx_porting.links import portal
from telnyx_porting.settings.values import CRITICAL, HIGH, LOW, SEVERITIES, rank

if TYPE_CHECKING:
    from telnyx_porting.flows.alerts.channels import Channel, Message

PATHS = {"pagerduty": "/v2/enqueue", "alertmanager": "/api/v2/alerts"}
"""Where a kind listens, when the connection's host names no path of its own."""

_PAGERDUTY = {CRITICAL: "critical", HIGH: "error", LOW: "info"}
_FIRES_FOR = timedelta(days=2)  # Alertmanager is told again every day while a finding is open


LARGEST = 256 * 1024  # bytes; proxies take 1 MiB, PagerDuty 512 KB
LARGEST_OF = {"slack": 38_000}  # it cuts a text off at 40,000 characters


def too_large(channel: Channel, message: Message) -> float:
    """Return how much larger a message is than its channel takes; up to 1.0 it fits."""
    if channel.kind == "mail":
        letter = mail(message)
        return len((letter.text + letter.html).encode(errors="replace")) / LARGEST
    return len(json.dumps(body(channel, message))) / LARGEST_OF.get(channel.kind, LARGEST)


def body(channel: Channel, message: Message, secret: str | None = None) -> Any:
    """Return the JSON body for a channel of an HTTP kind.

    :param secret: the connection's password; PagerDuty's routing key goes into the body.
    """
    if channel.kind == "slack":
        return _slack(message)
    if channel.kind == "pagerduty":
        return _pagerduty(message, secret or "")
    if channel.kind == "alertmanager":
        return [alert for finding in message.findings for alert in _alerts(message, finding)]
    told = {
        "account": message.account,
        "action": message.action,
        "findings": list(message.findings),
        "dedup_key": message.dedup_key,
        "text": message.text,
    }
    return told | ({"url": message.url} if message.url else {})


def _slack(message: Message) -> dict[str, Any]:
    """Return text for notifications and imitators, and blocks as long as they fit; otherwise the text says all."""
    text = message.text + (f"\n{message.page}" if message.url else "")
    plain = {"text": for_slack(text), "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
    if (made := blocks(message)) is None:
        return plain
    rich = plain | {"blocks": made}
    return rich if len(json.dumps(rich)) <= LARGEST_OF["slack"] else plain


def _pagerduty(message: Message, routing_key: str) -> dict[str, Any]:
    """Return an event: of one finding, or one incident for what was wrong when the watch began, instead of one each.

    Source: PagerDuty's Events API v2, https://developer.pagerduty.com/docs (Trigger Events).
    """
    only = message.findings[0] if len(message.findings) == 1 else None
    event = {"routing_key": routing_key, "dedup_key": only["dedup_key"] if only else identity(message.dedup_key)}
    if message.action == AlertAction.RESOLVED:
        return event | {"event_action": "resolve"}
    worst = min(message.findings, key=lambda finding: rank(finding["severity"]))
    said = {
        "summary": (only["text"] if only else message.text.splitlines()[0])[:1024],
        "source": message.account,
        "severity": _PAGERDUTY.get(worst["severity"], "warning"),
        "timestamp": (only and only["since"]) or message.at.isoformat(),
        "class": only["kind"] if only else "first look",
        "custom_details": only or {"findings": [finding["text"][:1024] for finding in message.findings[:50]]},
    }
    links = [{"href": only["url"] if only else message.url, "text": "Port-in"}] if message.url else []
    if only:
        said |= {"component": only["order_id"] or only["subject"], "group": only["kind"]}
        if links and only["order_id"]:
            links[0]["text"] = "Order in Port-in"
            links.append({"href": portal(only["order_id"]), "text": "Order in Telnyx's portal"})
    return event | {"event_action": "trigger", "payload": said} | ({"links": links} if links else {})


def _alerts(message: Message, finding: dict[str, Any]) -> list[dict[str, Any]]:
    """Fire under the severity of now; under any other it is over, for the label is part of an alert's identity."""
    alerts = []
    for severity in SEVERITIES:
        fires = message.action != AlertAction.RESOLVED and severity == finding["severity"]
        if not fires and message.action in (AlertAction.FIRING, AlertAction.REMINDER):
            continue
        labels = {
            "alertname": "TelnyxPorting",
            "account": message.account,
            "kind": finding["kind"],
            "severity": severity,
            "key": finding["key"],
            "occurrence": str(finding["occurrence"]),
        }
        ends = message.at + _FIRES_FOR if fires else message.at
        alert = {"labels": labels, "annotations": {"summary": finding["text"]}, "endsAt": ends.isoformat()}
        begun = {"startsAt": finding["since"]} if finding["since"] else {}
        source = {"generatorURL": finding["url"]} if "url" in finding else {}
        alerts.append(alert | begun | source)
    return alerts


@dataclass(frozen=True)
class Letter:
    """One mail; both parts say the same."""

    subject: str
    text: str
    html: str
    identity: str  # its Message-ID: the same when the same message has to be sent again


def mail(message: Message) -> Letter:
    """Return a message as a mail."""
    first = message.text.strip().partition("\n")[0].partition(". ")[0] or message.action
    digest = hashlib.sha256(message.dedup_key.encode()).hexdigest()[:32]
    return Letter(
        one_line(f"[port-in] {first}".rstrip("."), 150),
        message.text + (f"\n\n{message.page}" if message.url else ""),
        html(message) if message.url else f"<pre>{escape(message.text)}</pre>",
        f"<{digest}@telnyx-porting>",
    )
