"""The hook that knows where the ledger is. Every component of the Airflow face asks it and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook, conf
from airflow.sdk.exceptions import AirflowNotFoundException
from sqlalchemy import URL

from telnyx_porting.errors import LedgerError
from telnyx_porting.ledger.engine import Ledger

DEFAULT_CONN_ID = "telnyx_porting_ledger"
_POSTGRES_EXTRAS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs", "connect_timeout", "options")
_SINGLE_HOST = {"LocalExecutor", "airflow.executors.local_executor.LocalExecutor"}


class TelnyxLedgerHook(BaseHook):
    """Resolve the Airflow connection of the ledger.

    The connection is of type ``postgres`` or ``sqlite`` (host = the file's absolute path). Where none exists and
    Airflow runs on one host (LocalExecutor), the ledger is the SQLite file ``porting_ledger.db`` in ``AIRFLOW_HOME``.

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

        :raises LedgerError: naming the connection to set.
        """
        try:
            connection = self.get_connection(self.ledger_conn_id)
        except AirflowNotFoundException as error:
            return _without_connection(self.ledger_conn_id, error)
        return _url(self.ledger_conn_id, connection, connection.extra_dejson)

    def get_ledger(self) -> Ledger:
        """Return the ledger, upgraded (SQLite) or checked (PostgreSQL).

        :raises LedgerError: one sentence on what to set, run or repair.
        """
        return Ledger(self.get_url()).ready()

    async def aget_ledger(self) -> Ledger:
        """Return the ledger as it is, for triggers, which only look.

        :raises LedgerError: naming the connection to set.
        """
        try:
            connection = await self.aget_connection(self.ledger_conn_id)
        except AirflowNotFoundException as error:
            return Ledger(_without_connection(self.ledger_conn_id, error))
        return Ledger(_url(self.ledger_conn_id, connection, await connection.aextra_dejson()))


def _without_connection(conn_id: str, error: AirflowNotFoundException) -> str:
    if conf.get("core", "executor") not in _SINGLE_HOST:
        raise LedgerError(
            f"set the Airflow connection {conn_id!r} (type postgres): with this executor workers"
            " run on several hosts, and a SQLite file would not be shared"
        ) from error
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    return f"sqlite:///{home / 'porting_ledger.db'}"


def _url(conn_id: str, connection: Any, said: dict[str, Any]) -> URL | str:
    kind = connection.conn_type
    if kind == "sqlite":
        path = connection.host or connection.schema or ""
        if not path.startswith("/"):
            raise LedgerError(
                f"connection {conn_id!r}: host is {path!r}, expected the absolute path of the SQLite file"
            )
        return f"sqlite:///{path}"
    if kind.startswith("postgres"):
        return URL.create(
            "postgresql",
            username=connection.login,
            password=connection.password,
            host=connection.host,
            port=connection.port,
            database=connection.schema,
            query={name: str(said[name]) for name in _POSTGRES_EXTRAS if said.get(name)},
        )
    raise LedgerError(f"connection {conn_id!r}: type is {kind!r}, expected postgres or sqlite")
