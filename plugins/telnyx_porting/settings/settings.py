"""Every knob of the port-in watch: its default, its unit and its environment variable. No Airflow.

A field ``grace`` is read from ``TELNYX_PORTING_GRACE``. Durations are written ``90`` (seconds), ``90s``, ``15m``,
``4h`` or ``2d``. Lists are comma separated. ``TELNYX_PORTING_ACCOUNT_SETTINGS`` is a JSON object
``{"<account>": {"grace": "5m"}}`` that overrides any field for one account.

An invalid value must never stop a DAG from parsing, and must never act with a value nobody chose:
:func:`load` falls back to the default and keeps the problem; :meth:`Settings.require_valid`, the first line of
every task, raises it as one sentence.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from telnyx_porting.errors import SettingsError
from telnyx_porting.settings.values import (
    Channels,
    Clock,
    Columns,
    Days,
    Duration,
    Durations,
    Filters,
    Holidays,
    Hours,
    Limits,
    Names,
    Recipients,
    Site,
    Zone,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "TELNYX_PORTING_"


def _field(default: Any, text: str, **limits: Any) -> Any:
    return Field(default=default, description=text, **limits)


class Settings(BaseModel):
    """All settings of one account, immutable. Read them with :func:`load`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accounts: Names = _field(
        ("telnyx_default",), "Airflow connection ids of the Telnyx accounts to watch", min_length=1
    )

    # Reading the API
    requests_per_second: float = _field(2.0, "ceiling for background requests, per second", gt=0, le=1000)
    keep_free: float = _field(0.5, "share of the remaining rate limit left to other software", ge=0, lt=1)
    overlap: Duration = _field(timedelta(hours=1), "how far each scan reads again behind its watermark")
    settle: Duration = _field(timedelta(seconds=60), "age before a window may be sealed")
    first_look_days: int = _field(14, "days of history read at first contact", ge=0, le=3650)

    # Findings
    stuck_after: Duration = _field(timedelta(minutes=30), "age at which an event without payload is stuck")
    stuck_high_after: Duration = _field(timedelta(hours=4), "age at which a stuck event becomes severe")
    resolve_hold: Duration = _field(timedelta(minutes=10), "how long a finding must be over before it is resolved")
    ignore_orders: Names = _field(
        (), "orders that raise nothing: patterns (* and ?) for id, reference, group reference or support key"
    )
    question_after: Duration = _field(timedelta(hours=4), "working time after which an open question is severe")
    foc_grace: Duration = _field(timedelta(hours=4), "time after the FOC date in which an order may still be ported")
    foc_risk_days: int = _field(2, "working days before the FOC date in which a problem is critical", ge=0, le=30)
    overdue_after: Limits = _field(
        (), "longest stay in a status, added to the defaults: <status>[@<country>][/<number type>]:<n>d or <n>h"
    )
    dormant_after_days: int = _field(60, "days without a status change after which an order is only listed", ge=1)
    draft_warn_days: int = _field(25, "age of a draft from which the digest lists it, in days", ge=1)

    # Working hours
    business_zone: Zone = _field("UTC", "time zone of working hours and digest")
    business_days: Days = _field((0, 1, 2, 3, 4), "working days, such as mon-fri")
    business_hours: Hours = _field("09:00-17:00", "working hours, local time")
    business_holidays: Holidays = _field((), "countries or parts whose public holidays are kept, such as US or US-CA")

    # Alerts
    alert_channels: Channels = _field(
        (), "where alerts go: <connection id>:<json|slack|pagerduty|alertmanager>, or mail"
    )
    group_wait: Duration = _field(timedelta(minutes=2), "how long the first alert of a group waits for others")
    group_interval: Duration = _field(timedelta(minutes=15), "shortest time between two messages of one group")
    remind_critical: Duration = _field(timedelta(hours=4), "pause between reminders of what is critical; 0: none")
    remind_high_days: int = _field(1, "working days between reminders of what is severe; 0: none", ge=0, le=30)
    digest_at: Clock = _field(
        "08:00", "when the digest with all that is not urgent goes out on working days; off: tell it like the rest"
    )
    alert_details: Literal["ids", "references", "full"] = _field(
        "references", "what alerts may carry: ids only, references and descriptions, or comments too"
    )
    alert_filters: Filters = _field(
        {},
        'what a channel takes: {"<channel>": {"severity": "high", "kinds": [...], "accounts": [...],'
        ' "references": ["north-*"]}}',
    )
    alert_templates: str = _field("", "folder with templates that replace ours; empty: none")
    console_url: Site = _field(
        "", "Airflow's address, as people reach it: messages link to the pages there; empty: [api] base_url of Airflow"
    )
    mail_connection: str = _field("smtp_default", "Airflow connection of the channel mail")
    mail_to: Recipients = _field((), "addresses the channel mail writes to, each on its own")

    # Did it arrive?
    consumer_of_record: str = _field(
        "",
        "the feed whose deliveries decide: receiver, deliveries:<url> (and below), table:<conn>; empty: found out",
    )
    evidence_connection: str = _field(
        "", "Airflow SQL connection with a table of webhooks you received; the feed is called table:<connection>"
    )
    evidence_query: str = _field(
        "",
        "its query: columns id, received_at and body; '{since}' is replaced by a time with its zone",
    )
    evidence_columns: Columns = _field({}, 'our column names to yours, where they differ: {"body": "payload"}')
    grace: Duration = _field(timedelta(minutes=15), "time an event's notification may take before it is missed")
    confirm_within: Duration = _field(timedelta(minutes=15), "time a republished notification may take to arrive")

    # Republishing
    republish_mode: Literal["off", "approve", "auto"] = _field("approve", "who decides: off, approve (a person), auto")
    consumer_is_idempotent: bool = _field(False, "your consumer ignores repeats; auto needs it to be true")
    auto_approve_max: int = _field(10, "largest plan approved without a person, in events", ge=0)
    republish_daily_cap: int = _field(
        100, "sends in a rolling 24 h, whoever approved them, beyond which a person is asked", ge=0
    )
    republish_max_age: Duration = _field(timedelta(hours=24), "oldest event republished without a person")
    republish_max_mails: int = _field(0, "most mails a plan may cause without a person", ge=0)
    republish_per_second: float = _field(1.0, "republish requests per second; protects the consumer", gt=0, le=100)
    republish_unconfirmed: int = _field(20, "most sends awaiting their verdict at once", ge=1, le=1000)
    republish_budget: int = _field(3, "sends per event before it is given up", ge=1, le=10)
    republish_pauses: Durations = _field(
        (timedelta(minutes=30), timedelta(hours=4), timedelta(hours=24)), "pause before the 2nd, 3rd, ... send"
    )
    plan_expires: Duration = _field(timedelta(hours=24), "life of a plan that nobody finished")

    # Receiver
    watch_limit: Duration = _field(
        timedelta(minutes=30), "age of an account's newest complete reading at which the receiver's /watch says 503"
    )

    # Care of the ledger
    audit_nights: int = _field(30, "nights in which all history is compared with Telnyx id by id", ge=1, le=3650)
    retention_days: int = _field(0, "days after which payloads and texts of what is over go; 0: kept", ge=0, le=36500)
    backup_to: str = _field("", "file a SQLite ledger is copied to every night; empty: no copy")

    # When the DAGs run
    scan_every: Duration = _field(timedelta(minutes=5), "interval of porting_scan")
    look_every: Duration = _field(timedelta(minutes=15), "interval of the stuck, exception and missed DAGs")

    problems: tuple[Any, ...] = Field(default=(), exclude=True, repr=False)

    def pause_after(self, sends: int) -> timedelta:
        """Return how long to wait after the n-th send (at least the first pause, also when no send was charged)."""
        pauses = self.republish_pauses or (timedelta(0),)
        return pauses[min(max(sends - 1, 0), len(pauses) - 1)]

    def require_valid(self) -> Settings:
        """Return self, or raise the first invalid setting as one sentence.

        :raises SettingsError: naming the variable, its value and what would be right.
        """
        if self.problems:
            raise self.problems[0]
        return self


_NOT_OURS = (
    "account_settings",
    "ledger_url",
    "receiver_keys",
    "failpoint",
)  # variables of this prefix that others read
_KNOBS = tuple(name for name in Settings.model_fields if name != "problems")
OPTIONS = (*_KNOBS, "account_settings")
"""All that may be set, by its name in a configuration file; each is also a variable of the environment."""


def load(account: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of one account (or of none: the DAGs' own) from the environment.

    :param account: Airflow connection id whose overrides apply.
    :param environ: variables to read; default ``os.environ``.
    :return: valid settings; what was invalid is in ``problems`` and replaced by the default.
    """
    env = os.environ if environ is None else environ
    relevant = tuple(sorted((key, value) for key, value in env.items() if key.startswith(PREFIX)))
    return _load(account, relevant)


def described() -> Iterator[tuple[str, str, str]]:
    """Yield every setting: its name, its default as it is written, and what it means."""
    defaults = Settings()
    for name in _KNOBS:
        yield name, _written(getattr(defaults, name)), str(Settings.model_fields[name].description)


def table(settings: Settings) -> str:
    """Return every setting as a Markdown table: variable, value, meaning."""
    rows = []
    for name, _, text in described():
        meaning = text.replace("|", "\\|")
        rows.append(f"| `{PREFIX}{name.upper()}` | `{_written(getattr(settings, name))}` | {meaning} |")
    return "\n".join(["| variable | value | meaning |", "|---|---|---|", *rows])


def _written(value: Any) -> str:
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        sizes = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
        return next((f"{seconds // size}{unit}" for unit, size in sizes if seconds and seconds % size == 0), "0s")
    if isinstance(value, tuple):
        return ",".join(_written(item) for item in value) or " "
    return str(value).lower() if isinstance(value, bool) else str(value) or " "


@cache
def _load(account: str | None, variables: tuple[tuple[str, str], ...]) -> Settings:
    env = dict(variables)
    problems: list[SettingsError] = []
    values: dict[str, Any] = {}
    for variable in sorted(set(env) - {PREFIX + name.upper() for name in (*_KNOBS, *_NOT_OURS)}):
        problems.append(SettingsError(variable, env[variable], "a name listed by `python -m telnyx_porting settings`"))
    for name in _KNOBS:
        if (text := env.get(PREFIX + name.upper(), "")).strip():
            _keep(values, problems, name, text, PREFIX + name.upper())
    for name, value in _overrides(account, env.get(PREFIX + "ACCOUNT_SETTINGS", ""), problems).items():
        _keep(values, problems, name, value, f"{PREFIX}ACCOUNT_SETTINGS[{account}].{name}")
    return Settings(**values, problems=tuple(problems))


def _overrides(account: str | None, text: str, problems: list[SettingsError]) -> dict[str, Any]:
    if not text.strip():
        return {}
    expected = 'a JSON object such as {"telnyx_default": {"grace": "5m"}}'
    try:
        accounts = json.loads(text)
    except ValueError:
        accounts = None
    mine = accounts.get(account or "", {}) if isinstance(accounts, dict) else None
    if not isinstance(mine, dict):
        problems.append(SettingsError(PREFIX + "ACCOUNT_SETTINGS", text, expected))
        return {}
    return mine


def _keep(values: dict[str, Any], problems: list[SettingsError], name: str, value: Any, variable: str) -> None:
    if name not in _KNOBS:
        problems.append(SettingsError(variable, value, "one of " + ", ".join(_KNOBS)))
        return
    try:
        Settings.model_validate({name: value})
    except ValidationError as error:
        problems.append(SettingsError(variable, value, _expected(name, error)))
    else:
        values[name] = value


def _expected(name: str, error: ValidationError) -> str:
    first = error.errors()[0]
    annotation = Settings.model_fields[name].annotation
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(get_args(annotation))
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{Settings.model_fields[name].description} ({message})"
