"""Give Airflow the plugin when this folder is only mounted; otherwise the distribution's entry point does."""

from __future__ import annotations

from importlib.metadata import entry_points

if not entry_points(group="airflow.plugins", name="telnyx_porting"):
    from telnyx_porting.plugin import TelnyxPortingPlugin  # noqa: F401 (Airflow looks for the class here)
