"""The first schema. Until the first release it is rebased in place; after it, it freezes.

It imports nothing of ledger/tables.py, which moves on; a test keeps the newest version equal to it.
"""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, Text, text

revision = "0001"
down_revision = None

_name = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    _table(
        "porting_events",
        Column("id", Text, primary_key=True),
        Column("type", Text, nullable=False),
        Column("order_id", Text),
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Column("payload_status", Text, nullable=False),
        Column("completed_seen_at", BigInteger),
        Column("methods", Text, nullable=False),
        Column("has_webhook", Boolean, nullable=False),
        Column("natural_key", Text),
        Column("natural_at", Text),
        Column("copies", Integer, nullable=False, server_default="1"),
        Column("value", Text),
        Column("payload", Text),
        Column("pruned", Boolean, nullable=False, server_default=text("false")),
        Column("first_seen_at", BigInteger, nullable=False),
        Column("reread_at", BigInteger),
        Column("delivery", Text),
        Column("cause", Text),
        Column("due_at", BigInteger),
        Column("arrived_at", BigInteger),
        Column("sends", Integer, nullable=False, server_default="0"),
        Column("last_sent_at", BigInteger),
        Column("last_sent_date", BigInteger),
        Column("gone_at", BigInteger),
        Column("projected", Text),
    )
    _index("porting_events", "created", "created_at", "id")
    _index("porting_events", "given_up", "created_at", where="delivery = 'given_up'")
    _index("porting_events", "gone", "created_at", where="gone_at IS NOT NULL")
    _index("porting_events", "key", "natural_key")
    _index("porting_events", "not_generated", "created_at", where="payload_status != 'completed'")
    _index("porting_events", "open", "due_at", where="delivery IS NULL OR delivery IN ('pending', 'missed')")
    _index("porting_events", "order", "order_id", "type", "created_at")
    _index("porting_events", "to_project", "created_at", where="projected IS NULL OR projected != payload_status")

    _table(
        "porting_orders",
        Column("id", Text, primary_key=True),
        Column("status", Text),
        Column("status_since", BigInteger),
        Column("episode", Integer, nullable=False, server_default="0"),
        Column("came_from", Text),
        Column("came_at", BigInteger),
        Column("codes", Text),
        Column("messaging_status", Text),
        Column("messaging_since", BigInteger),
        Column("foc_requested", BigInteger),
        Column("foc_actual", BigInteger),
        Column("activation_status", Text),
        Column("customer_reference", _name),
        Column("customer_group_reference", _name),
        Column("support_key", _name),
        Column("parent_support_key", _name),
        Column("number_count", Integer),
        Column("number_type", Text),
        Column("country", Text),
        Column("webhook_url", Text),
        Column("created_at", BigInteger),
        Column("updated_at", BigInteger),
        Column("api_read_at", BigInteger),
        Column("api_status", Text),
        Column("api_since", BigInteger),
        Column("api_before", Text),
        Column("api_before_at", BigInteger),
        Column("api_updated_at", BigInteger),
        Column("api_codes", Text),
        Column("api_messaging", Text),
        Column("api_messaging_since", BigInteger),
        Column("seen_by", Text),
        Column("foc_before", BigInteger),
        Column("foc_since", BigInteger),
        Column("split_from", Text),
    )
    is_open = (
        "status IS NULL OR (status NOT IN ('ported', 'cancelled', 'canceled', 'deleted'))"
        " OR messaging_status IN ('pending', 'activating', 'exception')"
    )
    _index("porting_orders", "open", "updated_at", where=is_open)
    _index("porting_orders", "open_foc", "foc_actual", "id", where=is_open)
    _index("porting_orders", "read", "api_read_at")
    _index("porting_orders", "split", "split_from", where="split_from IS NOT NULL")
    _index("porting_orders", "status", "status", "updated_at", "id")
    _index("porting_orders", "foc", "foc_actual", "id")
    _index("porting_orders", "numbers", "number_count", "id")
    _index("porting_orders", "since", "status_since", "id")
    _index("porting_orders", "updated", "updated_at", "id")
    for name in ("customer_group_reference", "customer_reference", "parent_support_key", "support_key"):
        begins = text(f"lower(substr({name}, 1, 60))")
        op.create_index(f"porting_orders_{name}", "porting_orders", ["account", begins])

    _table(
        "porting_accounts",
        Column("base_url", Text),
        Column("user_id", Text),
        Column("key_fingerprint", Text),
        Column("watch_from", BigInteger),
        Column("record", Text),
        Column("preflight", Text),
        Column("findings_token", Text),
    )

    _table(
        "porting_feeds",
        Column("source", Text, primary_key=True),
        Column("covers_from", BigInteger),
        Column("covered_until", BigInteger),
        Column("proved_at", BigInteger),
        Column("checked_at", BigInteger),
        Column("heartbeat", BigInteger),
        Column("outages", Text),
        Column("error", Text),
        Column("refused", Integer, nullable=False, server_default="0"),
        Column("doubled_at", BigInteger),
        Column("rate_limit", Text),
        Column("token", Text),
        Column("lateness", Integer),
        Column("horizon", BigInteger),
        Column("odd", Text),
        Column("known", Text),
        Column("clock_offset", BigInteger),
    )

    _table(
        "porting_windows",
        Column("id", Text, primary_key=True),
        Column("since", BigInteger, nullable=False),
        Column("until", BigInteger, nullable=False),
        Column("made_by", Text, nullable=False),
        Column("method", Text),
        Column("as_of", BigInteger),
        Column("held", Integer),
        Column("counted", Integer),
        Column("late", Integer),
        Column("gone", Integer),
        Column("requests", Integer),
        Column("started_at", BigInteger, nullable=False),
        Column("sealed_at", BigInteger),
        Column("open_reason", Text),
    )
    _index("porting_windows", "open", "until", where="sealed_at IS NULL")
    _index("porting_windows", "proved", "method", "sealed_at", where="method IS NOT NULL")
    _index("porting_windows", "time", "until")

    _table(
        "porting_deliveries",
        Column("source", Text, primary_key=True),
        Column("source_id", Text, primary_key=True),
        Column("record_id", Text),
        Column("event_id", Text),
        Column("matched", Text),
        Column("webhook_id", Text),
        Column("type", Text),
        Column("order_id", Text),
        Column("natural_key", Text),
        Column("natural_at", Text),
        Column("destination", Text),
        Column("ok", Boolean, nullable=False),
        Column("attempt", Integer),
        Column("occurred_at", BigInteger),
        Column("signed_at", BigInteger),
        Column("stored_at", BigInteger, nullable=False),
        Column("error_code", Text),
        Column("http_status", Integer),
        Column("looked_at", BigInteger),
    )
    _index("porting_deliveries", "event", "event_id")
    _index("porting_deliveries", "key", "natural_key")
    _index("porting_deliveries", "new", "source", "stored_at", where="matched IS NULL")
    _index("porting_deliveries", "order", "order_id")
    _index("porting_deliveries", "signed", "source", "signed_at")
    _index("porting_deliveries", "stored", "source", "stored_at")
    _index(
        "porting_deliveries",
        "to_look_at",
        "source",
        "stored_at",
        where="looked_at IS NULL AND source = 'receiver'"
        " AND type IN ('porting_order.status_changed', 'porting_order.messaging_changed')",
    )
    _index("porting_deliveries", "unmatched", "webhook_id", where="matched IN ('none', 'ambiguous', 'far')")

    _table(
        "porting_plans",
        Column("id", Text, primary_key=True),
        Column("reason", Text, nullable=False),
        Column("selection", Text, nullable=False),
        Column("hash", Text, nullable=False),
        Column("size", Integer, nullable=False),
        Column("expected_mails", Integer),
        Column("created_at", BigInteger, nullable=False),
        Column("created_by", Text, nullable=False),
        Column("approved_at", BigInteger),
        Column("approved_by", Text),
        Column("closed_at", BigInteger),
        Column("closed_by", Text),
        Column("close_reason", Text),
        Column("expires_at", BigInteger, nullable=False),
    )
    _index("porting_plans", "made", "created_at", "id")
    _index("porting_plans", "one_open", where="closed_at IS NULL", unique=True)

    _table(
        "porting_republishes",
        Column("plan_id", Text, primary_key=True),
        Column("event_id", Text, primary_key=True),
        Column("position", Integer, nullable=False),
        Column("wave", Integer, nullable=False),
        Column("state", Text, nullable=False),
        Column("forced", Boolean, nullable=False, server_default=text("false")),
        Column("n", Integer),
        Column("owner", Text),
        Column("baseline", Text),
        Column("sent_at", BigInteger),
        Column("reply_date", BigInteger),
        Column("due_at", BigInteger),
        Column("settled_at", BigInteger),
        Column("detail", Text),
    )
    _index("porting_republishes", "event", "event_id")
    _index(
        "porting_republishes",
        "one_unresolved",
        "event_id",
        where="state IN ('sending', 'accepted', 'unknown') AND settled_at IS NULL",
        unique=True,
    )
    _index("porting_republishes", "sent", "sent_at")

    _table(
        "porting_findings",
        Column("key", Text, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("order_id", Text),
        Column("severity", Text, nullable=False),
        Column("detail", Text, nullable=False),
        Column("since", BigInteger, nullable=False),
        Column("opened_at", BigInteger, nullable=False),
        Column("changed_at", BigInteger),
        Column("absent_since", BigInteger),
        Column("resolved_at", BigInteger),
        Column("occurrence", Integer, nullable=False, server_default="1"),
        Column("revision", Integer, nullable=False, server_default="1"),
        Column("owner", Text),
        Column("note", Text),
        Column("acked_at", BigInteger),
        Column("acked_until", BigInteger),
        Column("triage", Text),
        Column("muted_until", BigInteger),
    )
    _index("porting_findings", "open", "kind", where="resolved_at IS NULL")
    _index("porting_findings", "order", "order_id")

    _table(
        "porting_alerts",
        Column("key", Text, primary_key=True),
        Column("occurrence", Integer, primary_key=True),
        Column("channel", Text, primary_key=True),
        Column("status", Text, nullable=False),
        Column("action", Text, nullable=False),
        Column("group_key", Text, nullable=False),
        Column("next_at", BigInteger),
        Column("sent_at", BigInteger),
        Column("sends", Integer, nullable=False, server_default="0"),
        Column("told", Integer, nullable=False, server_default="0"),
        Column("at_most", Integer),
        Column("batch", Text),
        Column("error", Text),
    )
    _index("porting_alerts", "due", "next_at", where="next_at IS NOT NULL")
    _index("porting_alerts", "live", "channel", where="status IN ('queued', 'sent', 'resolving')")
    _index("porting_alerts", "sent", "sent_at")

    _table(
        "porting_channels",
        Column("name", Text, primary_key=True),
        Column("first_look_at", BigInteger),
        Column("error", Text),
        Column("failures", Integer, nullable=False, server_default="0"),
        Column("paused_until", BigInteger),
        Column("incident", Text),
        Column("digest_at", BigInteger),
        Column("digest_paused_until", BigInteger),
    )


def _table(name: str, *columns: Column[Any]) -> None:
    """Create a table of which every row carries its account."""
    op.create_table(name, Column("account", Text, primary_key=True), *columns)


def _index(table: str, name: str, *columns: str, where: str | None = None, unique: bool = False) -> None:
    """Create an index that begins with the account; of some rows only where `where` is given."""
    rows = None if where is None else text(where)
    names = ("account", *columns)
    op.create_index(f"{table}_{name}", table, names, unique=unique, postgresql_where=rows, sqlite_where=rows)
