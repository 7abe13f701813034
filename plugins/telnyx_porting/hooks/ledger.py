"""The hook that knows where the ledger is. Every component of the Airflow face asks it and nothing else."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from sqlalchemy import URL

from telnyx_porting.compat import extra_of
from telnyx_porting.errors import LedgerError
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.urls import LEDGER_URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

DEFAULT_CONN_ID = "telnyx_porting_ledger"


class TelnyxLedgerHook(BaseHook):
    """Open the ledger that the deployment names; nothing is guessed.

    Where the environment says ``TELNYX_PORTING_LEDGER_URL``, that is the ledger of the connection
    ``telnyx_porting_ledger``, which is then not looked up: no failure to find a connection ever decides which ledger
    is used. Else the connection, of type ``postgres`` or ``sqlite`` (host = the file's absolute path).

    :param ledger_conn_id: Airflow connection id.
    """

    conn_name_attr = "ledger_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    hook_name = "Telnyx porting ledger"

    def __init__(self, ledger_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id

    def get_url(self) -> URL | str:
        """Return the ledger's database URL.

        :raises LedgerError: naming the connection and the setting.
        """
        if said := self._said():
            return said
        try:
            connection = self.get_connection(self.ledger_conn_id)
        except AirflowNotFoundException as error:
            raise self._nowhere() from error
        return _url(self.ledger_conn_id, connection, connection.extra_dejson)

    @contextmanager
    def get_ledger(self) -> Iterator[Ledger]:
        """Open the ledger, upgraded (SQLite) or checked (PostgreSQL), for a ``with`` block.

        :raises LedgerError: one sentence on what to set, run or repair.
        """
        with Ledger(self.get_url()) as ledger:
            yield ledger.ready()

    @asynccontextmanager
    async def aget_ledger(self) -> AsyncIterator[Ledger]:
        """Open the ledger as it is, for triggers, which only look.

        :raises LedgerError: naming the connection and the setting.
        """
        if not (url := self._said()):
            try:
                connection = await self.aget_connection(self.ledger_conn_id)
            except AirflowNotFoundException as error:
                raise self._nowhere() from error
            url = _url(self.ledger_conn_id, connection, await extra_of(connection))
        with Ledger(url) as ledger:
            yield ledger

    def _said(self) -> URL | str:
        return os.environ.get(LEDGER_URL, "") if self.ledger_conn_id == DEFAULT_CONN_ID else ""

    def _nowhere(self) -> LedgerError:
        setting = f", and {LEDGER_URL} is not set: set one of them" if self.ledger_conn_id == DEFAULT_CONN_ID else ""
        return LedgerError(
            f"it is not known where the ledger is: Airflow finds no connection {self.ledger_conn_id!r} (type postgres,"
            f" or sqlite with the file's absolute path as host){setting}; where it is set, a secrets backend failed"
        )


def _url(conn_id: str, connection: Any, said: dict[str, Any]) -> URL | str:
    kind = connection.conn_type
    if kind == "sqlite":
        path = connection.host or connection.schema or ""
        if not path.startswith("/"):
            raise LedgerError(
                f"connection {conn_id!r}: host is {path!r}, expected the absolute path of the SQLite file"
            )
        return URL.create("sqlite", database=path)
    if kind.startswith("postgres"):
        return URL.create(
            "postgresql",
            username=connection.login,
            password=connection.password,
            host=connection.host,
            port=connection.port,
            database=connection.schema,
            query={name: _option(value) for name, value in said.items() if value not in (None, "")},
        )
    raise LedgerError(f"connection {conn_id!r}: type is {kind!r}, expected postgres or sqlite")


def _option(value: Any) -> str:
    """Write an option as libpq reads it."""
    return str(int(value)) if isinstance(value, bool) else str(value)
