"""The assets of the port-in watch. Their events are wake-ups with counts only; consumers also run on a schedule.

They have a name alone: for the scheme of a URI Airflow would read what all providers say of theirs, at each parse.
"""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias, AssetWatcher

from telnyx_porting.triggers.porting import TelnyxPortingWebhooksTrigger

EVENTS = Asset("telnyx_porting_events")
"""Rows of the ledger's events changed."""

SCANNED = AssetAlias("telnyx_porting_scan")
"""Outlet of a scan: it emits :data:`EVENTS` only when rows changed."""

WEBHOOKS = Asset(
    "telnyx_porting_webhooks",
    watchers=[AssetWatcher(name="telnyx_porting_receiver", trigger=TelnyxPortingWebhooksTrigger())],
)
"""A webhook about an exception whose order nobody has looked at yet was verified, or a message is due."""
