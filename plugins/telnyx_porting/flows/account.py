"""One Telnyx account, as every flow sees it: its ledger, its id, its settings, what time it is, and what is kept of it.

Its row holds who it is, since when it is watched and who decides: nothing that is read from a feed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, select

from telnyx_porting.ledger.tables import accounts
from telnyx_porting.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from telnyx_porting.ledger.engine import Ledger


def utc_now() -> datetime:
    """Return this machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Account:
    """What a flow works on.

    :param id: the Airflow connection id that names the account in every row
    :param clock: this machine's time; a flow reads it once and hands the value down
    """

    ledger: Ledger
    id: str
    settings: Settings = field(default_factory=Settings)
    clock: Callable[[], datetime] = utc_now


def get_account(connection: Connection, account: str) -> RowMapping | None:
    """Return the account's row, or None before anything was kept of it."""
    return connection.execute(select(accounts).where(accounts.c.account == account)).mappings().one_or_none()


def touch_account(ledger: Ledger, connection: Connection, account: str, **columns: Any) -> None:
    """Write some columns of an account's row, creating it when needed."""
    ledger.upsert(connection, accounts, [{"account": account, **columns}], change=columns)


def watched_since(connection: Connection, account: str) -> datetime | None:
    """Return when the watch of the account began, or None before first contact."""
    row = get_account(connection, account)
    return row["watch_from"] if row else None
