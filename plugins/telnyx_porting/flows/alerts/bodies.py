"""The bodies of the HTTP channels. Each is documented by its test; customer text is escaped for where it goes.

``json``: ``{"account", "action": "firing|changed|reminder|resolved|digest", "findings": [{"key", "occurrence",
"dedup_key", "kind", "subject", "order_id", "severity", "since", "detail", "customer_reference", "support_key",
"text"}], "dedup_key", "text"}``. ``slack``: an incoming webhook of Slack, or of a chat that imitates it. ``pagerduty``:
Events API v2. ``alertmanager``: API v2.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.escaping import for_header, for_html, for_slack, identity
from telnyx_porting.ledger.states import AlertAction
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
    said = message.text if channel.kind == "mail" else json.dumps(body(channel, message))
    return len(said.encode(errors="replace")) / LARGEST_OF.get(channel.kind, LARGEST)


def body(channel: Channel, message: Message, secret: str | None = None) -> Any:
    """Return the JSON body for a channel of an HTTP kind.

    :param secret: the connection's password; PagerDuty's routing key goes into the body.
    """
    if channel.kind == "slack":
        return {"text": for_slack(message.text), "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
    if channel.kind == "pagerduty":
        return _pagerduty(message, secret or "")
    if channel.kind == "alertmanager":
        return [alert for finding in message.findings for alert in _alerts(message, finding)]
    return {
        "account": message.account,
        "action": message.action,
        "findings": list(message.findings),
        "dedup_key": message.dedup_key,
        "text": message.text,
    }


def _pagerduty(message: Message, routing_key: str) -> dict[str, Any]:
    if len(message.findings) != 1:
        return _pagerduty_summary(message, routing_key)
    finding = message.findings[0]
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if message.action == AlertAction.RESOLVED else "trigger",
        "dedup_key": finding["dedup_key"],
    }
    if message.action != AlertAction.RESOLVED:
        event["payload"] = {
            "summary": finding["text"][:1024],
            "source": message.account,
            "severity": _PAGERDUTY.get(finding["severity"], "warning"),
            "timestamp": finding["since"] or message.at.isoformat(),
            "component": finding["order_id"] or finding["subject"],
            "group": finding["kind"],
            "class": finding["kind"],
            "custom_details": finding,
        }
    return event


def _pagerduty_summary(message: Message, routing_key: str) -> dict[str, Any]:
    """Return one incident for what was wrong when the watch began, instead of one each; and its end."""
    incident = {"routing_key": routing_key, "dedup_key": identity(message.dedup_key)}
    if message.action == AlertAction.RESOLVED:
        return incident | {"event_action": "resolve"}
    worst = min(message.findings, key=lambda finding: rank(finding["severity"]))
    return incident | {
        "event_action": "trigger",
        "payload": {
            "summary": message.text.splitlines()[0][:1024],
            "source": message.account,
            "severity": _PAGERDUTY.get(worst["severity"], "warning"),
            "timestamp": message.at.isoformat(),
            "class": "first look",
            "custom_details": {"findings": [finding["text"][:1024] for finding in message.findings[:50]]},
        },
    }


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
        alerts.append(alert | ({"startsAt": finding["since"]} if finding["since"] else {}))
    return alerts


def mail(message: Message) -> tuple[str, str, str]:
    """Return subject, HTML and message id of a mail."""
    first = message.text.strip().partition("\n")[0].partition(". ")[0] or message.action
    subject = for_header(f"[port-in] {first}".rstrip("."))
    digest = hashlib.sha256(message.dedup_key.encode()).hexdigest()[:32]
    return subject, f"<pre>{for_html(message.text)}</pre>", f"<{digest}@telnyx-porting>"
