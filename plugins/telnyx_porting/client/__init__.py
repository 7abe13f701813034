"""Telnyx's porting API: ``TelnyxClient`` and ``AsyncTelnyxClient``."""

from __future__ import annotations

from telnyx_porting.client.clock import Clock
from telnyx_porting.client.events import ProvedWindow, RepublishReceipt
from telnyx_porting.client.faces import AsyncTelnyxClient, SyncVerbs, TelnyxClient

__all__ = [
    "AsyncTelnyxClient",
    "Clock",
    "ProvedWindow",
    "RepublishReceipt",
    "SyncVerbs",
    "TelnyxClient",
]
