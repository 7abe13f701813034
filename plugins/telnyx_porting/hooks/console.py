"""Where people open the console: what Airflow knows of its own address is handed down to the flows from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import conf

from telnyx_porting import settings
from telnyx_porting.settings.values import site

if TYPE_CHECKING:
    from telnyx_porting.settings import Settings


def settings_of(account: str) -> Settings:
    """Return an account's settings, in which ``console_url`` is Airflow's ``[api] base_url`` unless it is set."""
    own = settings.load(account)
    if own.console_url:
        return own
    try:
        return own.model_copy(update={"console_url": site(conf.get("api", "base_url", fallback="") or "")})
    except ValueError:  # such as "/": it leads nowhere from a message
        return own
