"""Settings: what a person can choose (`settings`), how it is written (`values`), when people work (`calendar`)."""

from __future__ import annotations

from telnyx_porting.settings.settings import OPTIONS, PREFIX, Settings, described, load, table

__all__ = ["OPTIONS", "PREFIX", "Settings", "described", "load", "table"]
