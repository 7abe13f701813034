"""Where a ledger is: the database URLs it takes."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from telnyx_porting.errors import LedgerError, SettingsError

LEDGER_URL = "TELNYX_PORTING_LEDGER_URL"  # the environment's word on where the ledger is
_POSTGRES = {"postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"}


def normalise(url: str | URL) -> URL:
    """Return the URL with the driver the ledger uses.

    :raises LedgerError: when it is no URL, or of a database the ledger does not support.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise LedgerError(
            "the ledger URL is not a database URL; expected sqlite:////path/to/ledger.db"
            " or postgresql://user:password@host/database"
        ) from error
    if parsed.drivername in _POSTGRES:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"} and parsed.database not in (None, "", ":memory:"):
        if not Path(parsed.database).is_absolute():  # each process would make one where it happens to run
            raise LedgerError(
                f"the ledger's file is {parsed.database!r}; expected an absolute path: sqlite:////path/to/ledger.db"
            )
        return parsed.set(drivername="sqlite+pysqlite")
    raise LedgerError(
        f"the ledger cannot live in {parsed.drivername!r}; expected a sqlite file or a postgresql database"
    )


def ledger_url(option: str | None) -> URL:
    """Return the ledger's URL: what the option ``--ledger`` says, else the environment.

    :raises SettingsError: the option has a password, or neither says anything.
    :raises LedgerError: as :func:`normalise`.
    """
    if option and normalise(option).password is not None:
        raise SettingsError("--ledger", "(hidden)", f"a URL without password, `ps` would show it: use {LEDGER_URL}")
    if url := option or os.environ.get(LEDGER_URL, ""):
        return normalise(url)
    expected = "sqlite:////path/to/ledger.db or postgresql://user:password@host/database, here or as --ledger"
    raise SettingsError(LEDGER_URL, "", expected)
