"""What a channel takes, by severity, kind, account and reference, and whether it gets the daily digest."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from telnyx_porting.settings.values import LOW, ChannelFilter, rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telnyx_porting.flows.alerts.channels import Channel
    from telnyx_porting.settings import Settings

_ALL = ChannelFilter()


def takes(settings: Settings, channel: Channel, account: str, finding: Mapping[Any, Any]) -> bool:
    """Whether a channel wants to hear of a finding.

    :param finding: its row, with the `customer_reference` of its order.
    """
    wanted = settings.alert_filters.get(channel.name, _ALL)
    reference = finding["customer_reference"] or ""
    return (
        rank(finding["severity"]) <= rank(wanted.severity)
        and (not wanted.kinds or finding["kind"] in wanted.kinds)
        and (not wanted.accounts or account in wanted.accounts)
        and (not wanted.references or any(fnmatch.fnmatchcase(reference, name) for name in wanted.references))
    )


def has_digest(settings: Settings, channel: Channel) -> bool:
    """Whether a channel gets the digest: people who take what is low."""
    wanted = settings.alert_filters.get(channel.name, _ALL)
    return settings.digest_at != "off" and not channel.is_machine and wanted.severity == LOW


def takes_everything(settings: Settings, channel: Channel, account: str) -> bool:
    """Whether a channel also hears of what is no finding: drafts, letters, counts."""
    wanted = settings.alert_filters.get(channel.name, _ALL)
    return not wanted.kinds and not wanted.references and (not wanted.accounts or account in wanted.accounts)
