"""The assets of the port-in watch. Their events are wake-ups with counts only; consumers also run on a schedule."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias, AssetWatcher

from telnyx_porting.triggers.porting import TelnyxPortingWebhooksTrigger

EVENTS = Asset(name="telnyx_porting_events", uri="telnyx://porting/events")
"""Rows of the ledger's events changed."""

SCANNED = AssetAlias("telnyx_porting_scan")
"""Outlet of a scan: it emits :data:`EVENTS` only when rows changed."""

WEBHOOKS = Asset(
    name="telnyx_porting_webhooks",
    uri="telnyx://porting/webhooks",
    watchers=[AssetWatcher(name="telnyx_porting_receiver", trigger=TelnyxPortingWebhooksTrigger())],
)
"""A webhook about an exception whose order nobody has looked at yet was verified, or a message is due."""
