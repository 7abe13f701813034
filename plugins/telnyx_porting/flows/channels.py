"""Channels: where alerts go, written ``<connection id>:<kind>`` or ``mail``, and the message handed to one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from telnyx_porting.settings import Settings

MACHINES = frozenset({"pagerduty", "alertmanager"})  # they group and remind themselves


@dataclass(frozen=True)
class Channel:
    """One place alerts go to."""

    name: str
    connection: str
    kind: str  # json | slack | pagerduty | alertmanager | mail

    @property
    def is_machine(self) -> bool:
        """Whether grouping and reminders are the receiver's business."""
        return self.kind in MACHINES


@dataclass(frozen=True)
class Message:
    """One message for one channel: a group of findings and what happened to them."""

    account: str
    action: str  # firing | changed | reminder | resolved
    findings: tuple[dict[str, Any], ...] = field(repr=False)
    dedup_key: str  # the same when the same message has to be sent again
    text: str = field(repr=False)


def channels_of(settings: Settings) -> list[Channel]:
    """Return the configured channels."""
    found = []
    for name in settings.alert_channels:
        connection, _, kind = name.partition(":")
        found.append(Channel(name, "" if name == "mail" else connection, kind or "mail"))
    return found


def body(channel: Channel, message: Message) -> dict[str, Any]:
    """Return the JSON body for a channel of an HTTP kind."""
    return {
        "account": message.account,
        "action": message.action,
        "findings": list(message.findings),
        "dedup_key": message.dedup_key,
        "text": message.text,
    }
