"""What a ledger on a server needs beyond SQL: it works behind a pooler, and every text fits into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event

from telnyx_porting.errors import LedgerError

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

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
