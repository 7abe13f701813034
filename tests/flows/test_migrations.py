"""The newest migration makes what `ledger/tables.py` says: neither can move without the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from telnyx_porting.ledger.engine import VERSION_TABLE
from telnyx_porting.ledger.tables import metadata

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

SQLITE = text("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name LIKE 'porting%' AND tbl_name <> :not")
POSTGRES = text(
    "SELECT schemaname = 'public', replace(indexdef, schemaname || '.', '') FROM pg_indexes"
    " WHERE schemaname IN ('public', 'other') AND tablename <> :not"
)
NOT = {"not": VERSION_TABLE}


@pytest.fixture
def moves() -> None:
    """Nothing is watched: what is compared is the schema itself."""


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # on SQLite the next test looks at those
def test_tables_columns_and_indexes_are_the_same(ledger: Ledger) -> None:
    options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
    with ledger.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_the_same_rows_are_in_partial_indexes(ledger: Ledger) -> None:
    """Which `compare_metadata` does not look at."""
    if ledger.is_sqlite:
        engine = create_engine("sqlite://", poolclass=NullPool)  # a connection that ends with its block
        with ledger.read() as connection, engine.connect() as other:
            metadata.create_all(other)
            made, said = (set(each.execute(SQLITE, NOT).scalars()) for each in (connection, other))
    else:
        with ledger.write() as connection:
            connection.execute(text("CREATE SCHEMA other"))
            connection.execute(text("SET LOCAL search_path TO other"))
            metadata.create_all(connection)
            rows = connection.execute(POSTGRES, NOT).all()
        made, said = ({written for public, written in rows if public is here} for here in (True, False))
    assert len(made) > len(metadata.tables)
    assert made == said
