"""The Airflow plugin of the port-in watch. Every Airflow component imports it, so it stays light."""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from telnyx_porting.links import MOUNT


class TelnyxPortingPlugin(AirflowPlugin):
    """Register the console with Airflow: its pages, and its place in the navigation."""

    name = "telnyx_porting"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # only the API server asks, and pays
        """The console, made when it is first asked for."""
        from telnyx_porting.web.console.app import create_app

        return [{"app": create_app(), "url_prefix": f"/{MOUNT}", "name": "Port-in"}]

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The entry "Port-in": the console in a frame."""
        prefix = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
        return [
            {
                "name": "Port-in",
                "href": f"{prefix}/{MOUNT}/",
                "destination": "nav",
                "url_route": MOUNT,
                "nav_top_level": True,
                "icon": f"{prefix}/{MOUNT}/static/icon.svg",
            }
        ]
