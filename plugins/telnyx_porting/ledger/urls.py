"""Where a ledger is: the database URLs it takes, and the server that one of them leads to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from telnyx_porting.errors import LedgerError, SettingsError

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

LEDGER_URL = "TELNYX_PORTING_LEDGER_URL"  # the environment's word on where the ledger is
_POSTGRES = {"postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"}


def normalise(url: str | URL) -> URL:
    """Return the URL with the driver the ledger uses.

    :raises LedgerError: when it is no URL, or of a database the ledger does not support, or has an unknown option.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise LedgerError(
            "the ledger URL is not a database URL; expected sqlite:////path/to/ledger.db"
            " or postgresql://user:password@host/database"
        ) from error
    if parsed.drivername in _POSTGRES:
        if unknown := sorted(set(parsed.query) - _options()):
            raise LedgerError(
                f"the ledger's connection has the option {unknown[0]!r}, which PostgreSQL's client library does not"
                " know; expected names such as sslmode or application_name (libpq's parameter key words)"
            )
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"} and parsed.database not in (None, "", ":memory:"):
        path = parsed.database
        if isinstance(url, str):  # SQLAlchemy 2.0 leaves %20 as it is, 2.1 does not
            path = unquote(url.partition(":///")[2].partition("?")[0])
        if not Path(path).is_absolute():  # each process would make one where it happens to run
            raise LedgerError(f"the ledger's file is {path!r}; expected an absolute path: sqlite:////path/to/ledger.db")
        return parsed.set(drivername="sqlite+pysqlite", database=path)
    raise LedgerError(
        f"the ledger cannot live in {parsed.drivername!r}; expected a sqlite file or a postgresql database"
    )


def ledger_url(option: str | None) -> URL:
    """Return the ledger's URL: what the option ``--ledger`` says, else the environment.

    :raises SettingsError: the option has a password, or neither says anything.
    :raises LedgerError: as :func:`normalise`.
    """
    if option and _has_secret(normalise(option)):
        raise SettingsError("--ledger", "(hidden)", f"a URL without password, `ps` would show it: use {LEDGER_URL}")
    if url := option or os.environ.get(LEDGER_URL, ""):
        return normalise(url)
    expected = "sqlite:////path/to/ledger.db or postgresql://user:password@host/database, here or as --ledger"
    raise SettingsError(LEDGER_URL, "", expected)


def _has_secret(url: URL) -> bool:
    return url.password is not None or any(name.endswith(("password", "secret")) for name in url.query)


def _options() -> set[str]:
    """Return the names of the connection options that this libpq knows.

    :raises LedgerError: PostgreSQL's driver is not installed.
    """
    try:
        from psycopg.pq import Conninfo
    except ImportError as error:
        raise LedgerError(
            "a ledger on PostgreSQL needs its driver: pip install 'airflow-provider-telnyx-porting[postgres]'"
        ) from error
    return {option.keyword.decode() for option in Conninfo.get_defaults()}


# Behind PgBouncer in transaction mode the next transaction may be on another connection, which knows no statement that
# was prepared on this one. What the environment says of the encoding is meant for terminals.
_ALWAYS = {"prepare_threshold": None, "client_encoding": "UTF8"}


def open_server(url: URL) -> Engine:
    """Return an engine of a PostgreSQL database; connecting raises LedgerError where its encoding is not UTF8."""
    engine = create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=8, connect_args=_ALWAYS)

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Any, _record: Any, arguments: Any, keywords: Any) -> Any:
        # Before SQLAlchemy asks anything: it cannot read what a database without an encoding answers.
        connection = dialect.connect(*arguments, **keywords)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            connection.close()
            raise LedgerError(
                f"the ledger's database {url.database or ''!r} has the encoding {encoding}, in which not every text can"
                " be kept; make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )
        return connection

    return engine
