"""Alembic environment: the connection (and its transaction and lock) comes from Ledger.upgrade."""

from __future__ import annotations

from alembic import context

from telnyx_porting.ledger.engine import VERSION_TABLE
from telnyx_porting.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
context.run_migrations()
