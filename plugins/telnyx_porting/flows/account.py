"""One Telnyx account, as every flow sees it: its ledger, its id, its settings, and what time it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from telnyx_porting.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from telnyx_porting.ledger.engine import Ledger


def utc_now() -> datetime:
    """Return this machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Account:
    """
    What a flow works on.

    :param ledger: where its rows are
    :param id: the Airflow connection id that names the account in every row
    :param settings: its settings
    :param clock: this machine's time; a flow reads it once and hands the value down
    """

    ledger: Ledger
    id: str
    settings: Settings = field(default_factory=Settings)
    clock: Callable[[], datetime] = utc_now
