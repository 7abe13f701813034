"""What Airflow's providers manager asks a distribution for: the connection type and where the parts are."""

from __future__ import annotations

from typing import Any

from telnyx_porting import __version__


def get_provider_info() -> dict[str, Any]:
    """Describe the provider, in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-telnyx-porting",
        "name": "Telnyx port-in watch",
        "description": "Watch Telnyx port-ins: stuck events, orders in exception, missed notifications.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://developers.telnyx.com/docs/numbers/porting",
                "tags": ["service"],
            }
        ],
        **{
            room: [{"integration-name": _INTEGRATION, "python-modules": [module]}]
            for room, module in {
                "hooks": "telnyx_porting.hooks.telnyx",
                "operators": "telnyx_porting.operators.porting",
                "sensors": "telnyx_porting.sensors.porting",
                "triggers": "telnyx_porting.triggers.porting",
            }.items()
        },
        "connection-types": [_CONNECTION_TYPE],
        "notifications": ["telnyx_porting.notifications.failure.PortingAlertNotifier"],
    }


_INTEGRATION = "Telnyx porting"
_CONNECTION_TYPE: dict[str, Any] = {
    "connection-type": "telnyx",
    "hook-name": "Telnyx",
    "hook-class-name": "telnyx_porting.hooks.telnyx.TelnyxHook",
    "ui-field-behaviour": {
        # The port stays visible: Airflow 3.3's Test button refuses a saved connection that has none.
        "hidden-fields": ["schema", "login", "extra"],
        "relabeling": {"password": "API key", "host": "API base URL", "port": "Port (usually 443)"},
        "placeholders": {
            "password": "KEY...",
            "host": "https://api.telnyx.com/v2 (empty: this one)",
            "port": "443",
        },
    },
    "conn-fields": {
        "timeout": {
            "label": "Time-out (s)",
            "description": "Seconds that one request to Telnyx may take.",
            "schema": {"type": ["number", "null"], "default": 30, "exclusiveMinimum": 0},
        },
        "max_concurrency": {
            "label": "Requests at once",
            "description": "How many requests of one client may be open at the same time.",
            "schema": {"type": ["integer", "null"], "default": 8, "minimum": 1},
        },
        "requests_per_second": {
            "label": "Requests per second",
            "description": "A fixed ceiling. Empty: only the limits that Telnyx reports are kept.",
            "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
        },
        "allow_insecure_http": {
            "label": "Allow http://",
            "description": "For a sandbox that is not on this host. Refused for the public API.",
            "schema": {"type": ["boolean", "null"], "default": False},
        },
    },
}
