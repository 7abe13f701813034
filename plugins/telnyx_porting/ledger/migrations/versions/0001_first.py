"""The first schema. Until the first release it is rebased in place; after it, it freezes."""

from __future__ import annotations

from alembic import op

from telnyx_porting.ledger.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the nine tables and their indexes."""
    metadata.create_all(op.get_bind())
