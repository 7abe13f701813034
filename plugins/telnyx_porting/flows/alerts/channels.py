"""Channels: where alerts go, written ``<connection id>:<kind>`` or ``mail``, and the message handed to one.

Each recipient of mail is a channel of its own: whom the server refuses keeps nobody else from being told.

A channel's row holds how it fares: its back-off, its open incident, its digest. Whoever writes it holds the lock
``findings:<account>``.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, select

from telnyx_porting.errors import TelnyxPortingError
from telnyx_porting.ledger.states import AlertAction
from telnyx_porting.ledger.tables import channels
from telnyx_porting.settings.values import LOW, ChannelFilter, rank

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings


@dataclass(frozen=True)
class Channel:
    """One place alerts go to."""

    name: str
    connection: str
    kind: str  # json | slack | pagerduty | alertmanager | mail
    recipient: str = ""  # of mail
    wanted: ChannelFilter = ChannelFilter()

    @property
    def is_machine(self) -> bool:
        """Whether grouping and reminders are the receiver's business."""
        return self.kind in ("pagerduty", "alertmanager")

    def takes(self, account: str, finding: Mapping[Any, Any]) -> bool:
        """Whether it wants to hear of a finding: its row, with the `customer_reference` of its order."""
        wanted, reference = self.wanted, finding["customer_reference"] or ""
        return (
            rank(finding["severity"]) <= rank(wanted.severity)
            and (not wanted.kinds or finding["kind"] in wanted.kinds)
            and (not wanted.accounts or account in wanted.accounts)
            and (not wanted.references or any(fnmatch.fnmatchcase(reference, name) for name in wanted.references))
        )

    def takes_everything(self, account: str) -> bool:
        """Whether it also hears of what is no finding: drafts, letters, counts."""
        wanted = self.wanted
        return not wanted.kinds and not wanted.references and (not wanted.accounts or account in wanted.accounts)

    def has_digest(self, settings: Settings) -> bool:
        """Whether it gets the digest: people who take what is low."""
        return settings.digest_at != "off" and not self.is_machine and self.wanted.severity == LOW


@dataclass(frozen=True)
class Message:
    """One message for one channel: a group of findings and what happened to them."""

    account: str
    action: str  # firing | changed | reminder | resolved | digest
    findings: tuple[dict[str, Any], ...] = field(repr=False)
    dedup_key: str  # the same when the same message has to be sent again
    text: str = field(repr=False)
    at: datetime  # of sending
    url: str = ""  # of the console's first page; empty: it is not known where that is
    zone: str = "UTC"  # of the desk

    @property
    def page(self) -> str:
        """The address of the page that shows all of it; empty: not known."""
        only = self.findings[0] if len(self.findings) == 1 and self.action != AlertAction.DIGEST else None
        return str(only.get("url") or self.url) if only else self.url


class ChannelError(TelnyxPortingError):
    """A channel did not take a message. Says why without the URL, which may carry a secret.

    :param not_sent: nobody got it, certainly; otherwise nobody knows.
    :param refused: a secret was refused (then nothing was sent): tried again soon and often, it locks an account.
    :param unfit: the message was refused as it is (then nothing was sent): a smaller one may be taken.
    :param too_large: that is because of its size.
    """

    def __init__(
        self,
        reason: str,
        *,
        not_sent: bool = False,
        refused: bool = False,
        unfit: bool = False,
        too_large: bool = False,
    ) -> None:
        super().__init__(reason)
        self.unfit = unfit or too_large
        self.not_sent = not_sent or refused or self.unfit
        self.refused = refused
        self.too_large = too_large


def channels_of(settings: Settings) -> list[Channel]:
    """Return the configured channels."""
    found = []
    for name in settings.alert_channels:
        connection, _, kind = name.partition(":")
        wanted = settings.alert_filters.get(name, ChannelFilter())
        if name == "mail":
            found += [Channel(f"mail:{to}", settings.mail_connection, name, to, wanted) for to in settings.mail_to]
        else:
            found.append(Channel(name, connection, kind, wanted=wanted))
    return found


def get_channel(connection: Connection, account: str, name: str) -> RowMapping | None:
    """Return the channel's row, or None before anything was kept of it."""
    query = select(channels).where(channels.c.account == account, channels.c.name == name)
    return connection.execute(query).mappings().one_or_none()


def touch_channel(ledger: Ledger, connection: Connection, account: str, name: str, **columns: Any) -> None:
    """Write some columns of a channel's row, creating it when needed."""
    ledger.upsert(connection, channels, [{"account": account, "name": name, **columns}], change=columns)
