"""The Airflow plugin of the port-in watch. Every Airflow component imports it, so it stays light."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class TelnyxPortingPlugin(AirflowPlugin):
    """Register the port-in watch with Airflow."""

    name = "telnyx_porting"
