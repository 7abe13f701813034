"""The settings as Airflow's processes know them: the environment, and below it Airflow's own configuration."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from telnyx_porting import settings
from telnyx_porting.errors import SettingsError
from telnyx_porting.settings.values import site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.settings import Settings

SECTION = "telnyx_porting"
_VARIABLES = f"AIRFLOW__{SECTION.upper()}__"


def load_settings(account: str | None = None) -> Settings:
    """Return the settings of one account, or of none: the DAGs' own.

    ``TELNYX_PORTING_GRACE`` comes first, then ``grace`` of the section ``[telnyx_porting]`` of Airflow's configuration
    (``AIRFLOW__TELNYX_PORTING__GRACE``, or ``airflow.cfg``), then the default; ``console_url`` is Airflow's
    ``[api] base_url`` unless it is set. No secrets backend is asked. What is invalid is in ``problems``, as
    :func:`telnyx_porting.settings.load` says.

    :param account: Airflow connection id whose overrides apply.
    """
    written = {f"{settings.PREFIX}{name.upper()}": _option(SECTION, name) for name in settings.OPTIONS}
    said = {name: value for name, value in os.environ.items() if value.strip()}
    own = settings.load(account, written | said)
    more: dict[str, Any] = {"problems": (*own.problems, *_misspelt())}
    if not own.console_url:
        with suppress(ValueError):  # such as "/": it leads nowhere from a message
            more["console_url"] = site(_option("api", "base_url"))
    return own.model_copy(update=more)


def _option(section: str, name: str) -> str:
    return str(conf.get(section, name, fallback=None) or "")


def _misspelt() -> Iterator[SettingsError]:
    """Yield what stands in our section and is no setting; its value is not shown, it may be a secret."""
    names = set(conf.options(SECTION)) if conf.has_section(SECTION) else set()
    said = (name.removeprefix(_VARIABLES) for name in os.environ if name.startswith(_VARIABLES))
    for name in sorted({*names, *(name.lower().removesuffix("_cmd") for name in said)} - {*settings.OPTIONS}):
        yield SettingsError(f"[{SECTION}] {name}", "...", "a name listed by `python -m telnyx_porting settings`")
