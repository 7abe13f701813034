"""What Airflow's providers manager asks a distribution for: the connection type and where the parts are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telnyx_porting import __version__
from telnyx_porting.settings import described

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        "config": {"telnyx_porting": {"description": _CONFIG, "options": dict(_options())}},
        "notifications": ["telnyx_porting.notifications.failure.PortingAlertNotifier"],
    }


def _options() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the settings as Airflow options, without defaults: an option that nobody wrote leaves the word to us."""
    overrides = ("account_settings", '{"second_account": {"grace": "5m"}}', "settings of one account, as a JSON object")
    for name, example, text in (*described(), overrides):
        kept = {"version_added": None, "type": "string", "example": example.strip() or None, "default": None}
        yield name, {"description": f"{text[:1].upper()}{text[1:]}.", **kept}


_INTEGRATION = "Telnyx porting"
_CONFIG = (
    "Settings of the port-in watch. A variable such as TELNYX_PORTING_GRACE comes before the option here; the receiver"
    " and the command line know the variables only."
)
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
