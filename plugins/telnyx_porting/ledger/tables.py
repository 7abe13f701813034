"""The eleven tables of the ledger. What each column is for stands beside it; every row carries its account."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ColumnElement, Index, Integer, MetaData, Table, Text, text

from telnyx_porting.ledger import predicates
from telnyx_porting.ledger.types import Instant, Json, Lossless, Name, Word, beginning

metadata = MetaData()


def _account() -> Column[str]:
    return Column("account", Text, primary_key=True)


def _some(table: Table, name: str, rows: ColumnElement[bool], *columns: str, unique: bool = False) -> None:
    """Make an index that holds some rows of a table only: each database has its own word for it."""
    names = [table.c[column] for column in ("account", *columns)]
    Index(f"{table.name}_{name}", *names, unique=unique, postgresql_where=rows, sqlite_where=rows)


events = Table(
    "porting_events",
    metadata,
    _account(),
    Column("id", Word, primary_key=True),
    Column("type", Word, nullable=False),
    Column("order_id", Word),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("payload_status", Lossless, nullable=False),
    Column("completed_seen_at", Instant),  # when a scan saw `created` turn into `completed`
    Column("methods", Json, nullable=False),  # what the event *type* could use
    Column("has_webhook", Boolean, nullable=False),  # the type and the methods allow one
    Column("natural_key", Word),  # outlives the payload
    Column("natural_at", Lossless),  # the key's time as written: its precision matters
    Column("copies", Integer, nullable=False, server_default="1"),  # webhooks promised: a split's numbers; 0: unknown
    Column("value", Lossless),  # order status, messaging state or comment author type; outlives the payload
    Column("payload", Json),
    Column("pruned", Boolean, nullable=False, server_default=text("false")),  # payload removed by retention
    Column("first_seen_at", Instant, nullable=False),
    Column("reread_at", Instant),  # when an event without payload was last read again
    Column("delivery", Text),  # null = not looked at yet; see flows/deliveries/arrival.py
    Column("cause", Text),
    Column("due_at", Instant),
    Column("arrived_at", Instant),
    Column("sends", Integer, nullable=False, server_default="0"),
    Column("last_sent_at", Instant),
    Column("last_sent_date", Instant),  # the same moment on the provider's clock
    Column("gone_at", Instant),  # when an audit found that the provider no longer has it; it stays here
    Column("projected", Text),  # the payload_status at which the order's row last took this event in; null = never
    Index("porting_events_created", "account", "created_at", "id"),
    Index("porting_events_order", "account", "order_id", "type", "created_at"),
    Index("porting_events_key", "account", "natural_key"),
)
_some(events, "open", predicates.is_open(events), "due_at")
_some(events, "not_generated", predicates.not_generated(events), "created_at")
_some(events, "to_project", predicates.to_project(events), "created_at")
_some(events, "given_up", predicates.is_given_up(events), "created_at")
_some(events, "gone", events.c.gone_at.is_not(None), "created_at")

orders = Table(
    "porting_orders",
    metadata,
    _account(),
    Column("id", Word, primary_key=True),
    Column("status", Word),
    Column("status_since", Instant),
    Column("episode", Integer, nullable=False, server_default="0"),  # which exception of this order, 1-based
    Column("came_from", Lossless),  # the status before the present one
    Column("came_at", Instant),  # when that one began
    Column("codes", Json),  # [[code, description], ...] of the current status
    Column("messaging_status", Lossless),
    Column("messaging_since", Instant),
    Column("foc_requested", Instant),
    Column("foc_actual", Instant),
    Column("activation_status", Lossless),
    Column("customer_reference", Name),
    Column("customer_group_reference", Name),
    Column("support_key", Name),
    Column("parent_support_key", Name),
    Column("number_count", Integer),
    Column("number_type", Lossless),
    Column("country", Lossless),
    Column("webhook_url", Lossless),
    Column("created_at", Instant),
    Column("updated_at", Instant),  # the provider's, of the newest thing we know
    Column("api_read_at", Instant),  # null: known from events only
    Column("api_status", Lossless),  # what the order itself last said, apart from what its events say
    Column("api_since", Instant),  # the order's updated_at when it first said so
    Column("api_before", Lossless),  # what it said before, and when last
    Column("api_before_at", Instant),
    Column("api_updated_at", Instant),
    Column("api_codes", Json),
    Column("api_messaging", Lossless),
    Column("api_messaging_since", Instant),
    Column("seen_by", Text),  # event | order: who told the present status
    Column("foc_before", Instant),  # the date agreed before the present one; null = it never moved
    Column("foc_since", Instant),  # the order's updated_at when the present date was first read
    Column("split_from", Word),  # the order its numbers came from
    Index("porting_orders_status", "account", "status", "updated_at", "id"),
    Index("porting_orders_read", "account", "api_read_at"),
    Index("porting_orders_updated", "account", "updated_at", "id"),
    Index("porting_orders_since", "account", "status_since", "id"),
    Index("porting_orders_foc", "account", "foc_actual", "id"),
    Index("porting_orders_numbers", "account", "number_count", "id"),
)
_some(orders, "split", orders.c.split_from.is_not(None), "split_from")
for _name in ("customer_reference", "customer_group_reference", "support_key", "parent_support_key"):
    Index(f"porting_orders_{_name}", orders.c.account, beginning(orders.c[_name]))
# without statistics SQLite prefers the index of which a query can use most columns, so queries say updated_at > 0
_some(orders, "open", predicates.order_is_open(orders), "updated_at")
_some(orders, "open_foc", predicates.order_is_open(orders), "foc_actual", "id")

accounts = Table(
    "porting_accounts",
    metadata,
    _account(),
    Column("base_url", Text),  # with the next two its identity, pinned at first contact
    Column("user_id", Text),
    Column("key_fingerprint", Text),
    Column("watch_from", Instant),  # nothing due earlier is ever planned by itself
    Column("record", Json),  # the consumer of record at the last look, see flows/deliveries/consumer.py
    Column("preflight", Json),  # its lines as it last ran, see flows/desk/preflight.py
    Column("findings_token", Text),  # new with every reconcile: one that looked before it looks again
)

feeds = Table(
    "porting_feeds",
    metadata,
    _account(),
    # events | receiver | deliveries | table:<conn> | orders | subscriptions | exception_types
    Column("source", Text, primary_key=True),
    Column("covers_from", Instant),
    Column("covered_until", Instant),  # for `events` this is the watermark
    Column("proved_at", Instant),  # when it first showed a port-in notification of this account
    Column("checked_at", Instant),
    Column("heartbeat", Instant),  # on `receiver`
    Column("outages", Text),  # on `receiver`: gaps in its heartbeat, see flows/feeds.py
    Column("error", Lossless),
    Column("refused", Integer, nullable=False, server_default="0"),  # bad signatures since the last good one
    Column("doubled_at", Instant),  # when one notification was last seen to come as several webhooks
    Column("rate_limit", Json),
    Column("token", Text),  # on `events`: fences the scan that may seal
    Column("lateness", Integer),  # on `events`: the largest recent delay of a late row, in seconds
    Column("horizon", Instant),  # on `events`: the provider no longer has what is older
    # rows that could not be read as they are meant: what -> [first, last seen], see flows/events/odd.py
    Column("odd", Json),
    # `exception_types`: the provider's codes; `subscriptions`: who; `deliveries`: destinations; `receiver`: its clock
    Column("known", Json),
    Column("clock_offset", BigInteger),  # on `events`: the provider's clock minus ours, on `receiver`: minus its; in ms
)

windows = Table(
    "porting_windows",
    metadata,
    _account(),
    Column("id", Text, primary_key=True),
    Column("since", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("made_by", Text, nullable=False),  # states.MadeBy
    Column("method", Text),  # of an audit's certificate: count (as long as the provider removes nothing) | ids
    Column("as_of", Instant),  # the provider's time as the proof began
    Column("held", Integer),
    Column("counted", Integer),
    Column("late", Integer),  # rows that appeared behind the watermark
    Column("gone", Integer),  # rows held here that the provider no longer has
    Column("requests", Integer),
    Column("started_at", Instant, nullable=False),
    Column("sealed_at", Instant),
    Column("open_reason", Lossless),
    Index("porting_windows_time", "account", "until"),
)
_some(windows, "open", windows.c.sealed_at.is_(None), "until")
_some(windows, "proved", windows.c.method.is_not(None), "method", "sealed_at")

deliveries = Table(
    "porting_deliveries",
    metadata,
    _account(),
    Column("source", Text, primary_key=True),
    Column("source_id", Word, primary_key=True),
    Column("record_id", Word),  # on `deliveries`: the provider's record this attempt belongs to
    Column("event_id", Word),  # the one event this proves, once matched
    Column("matched", Text),  # null = not looked at, or waits; see states.py
    Column("webhook_id", Word),
    Column("type", Lossless),
    Column("order_id", Word),
    Column("natural_key", Word),
    Column("natural_at", Lossless),
    Column("destination", Lossless),
    Column("ok", Boolean, nullable=False),
    Column("attempt", Integer),  # which try of the webhook it was, where that is told: `meta.attempt`
    Column("occurred_at", Instant),
    Column("signed_at", Instant),  # provider's clock: signature, or start of the last attempt
    Column("stored_at", Instant, nullable=False),
    Column("error_code", Lossless),
    Column("http_status", Integer),  # what the destination answered to this try; null: nothing, or it is not told
    # on `receiver`: when its order was looked at because of it; on `deliveries`: when the record was read again
    Column("looked_at", Instant),
    Index("porting_deliveries_event", "account", "event_id"),
    Index("porting_deliveries_key", "account", "natural_key"),
    Index("porting_deliveries_order", "account", "order_id"),
    Index("porting_deliveries_signed", "account", "source", "signed_at"),
    Index("porting_deliveries_stored", "account", "source", "stored_at"),
)
_some(deliveries, "unmatched", predicates.is_unmatched(deliveries), "webhook_id")
# with their source, else SQLite prefers an index of all deliveries, of which a query can use as many columns
_some(deliveries, "new", deliveries.c.matched.is_(None), "source", "stored_at")
_some(deliveries, "to_look_at", predicates.is_to_look_at(deliveries), "source", "stored_at")

plans = Table(
    "porting_plans",
    metadata,
    _account(),
    Column("id", Text, primary_key=True),
    Column("reason", Lossless, nullable=False),
    Column("selection", Json, nullable=False),  # how the ids were chosen, and what the plan will do in words
    Column("hash", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("expected_mails", Integer),  # null: unknown, treated as some
    Column("created_at", Instant, nullable=False),
    Column("created_by", Lossless, nullable=False),
    Column("approved_at", Instant),
    Column("approved_by", Lossless),
    Column("closed_at", Instant),
    Column("closed_by", Lossless),
    Column("close_reason", Lossless),
    Column("expires_at", Instant, nullable=False),
    Index("porting_plans_made", "account", "created_at", "id"),
)
_some(plans, "one_open", plans.c.closed_at.is_(None), unique=True)

republishes = Table(
    "porting_republishes",
    metadata,
    _account(),
    Column("plan_id", Text, primary_key=True),
    Column("event_id", Word, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("wave", Integer, nullable=False),  # 1: the canary, 2: ten more, 3: the rest; final once it is sent
    Column("state", Text, nullable=False),  # see states.py
    Column("forced", Boolean, nullable=False, server_default=text("false")),  # a person named it, whatever its state
    Column("n", Integer),  # which send of the event this is
    Column("owner", Text),
    Column("baseline", Json),  # deliveries known when the claim was written: not new evidence
    Column("sent_at", Instant),
    Column("reply_date", Instant),  # the reply's Date header: the provider's clock
    Column("due_at", Instant),
    Column("settled_at", Instant),
    Column("detail", Lossless),
    Index("porting_republishes_event", "account", "event_id"),
    Index("porting_republishes_sent", "account", "sent_at"),
)
# at most one unresolved send per event
_some(republishes, "one_unresolved", predicates.is_unresolved(republishes), "event_id", unique=True)

findings = Table(
    "porting_findings",
    metadata,
    _account(),
    Column("key", Word, primary_key=True),  # kind:subject
    Column("kind", Text, nullable=False),
    Column("subject", Lossless, nullable=False),
    Column("order_id", Word),
    Column("severity", Text, nullable=False),  # critical | high | low
    Column("detail", Json, nullable=False),
    Column("since", Instant, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("changed_at", Instant),
    Column("absent_since", Instant),  # first look that no longer found it true; resolves after the hold time
    Column("resolved_at", Instant),
    Column("occurrence", Integer, nullable=False, server_default="1"),
    Column("revision", Integer, nullable=False, server_default="1"),  # grows with what is told inside an occurrence
    Column("owner", Lossless),
    Column("note", Lossless),
    Column("acked_at", Instant),
    Column("acked_until", Instant),
    Column("triage", Json),  # who acknowledged or muted it, and why
    Column("muted_until", Instant),
    Index("porting_findings_order", "account", "order_id"),
)
_some(findings, "open", findings.c.resolved_at.is_(None), "kind")

alerts = Table(
    "porting_alerts",
    metadata,
    _account(),
    Column("key", Word, primary_key=True),
    Column("occurrence", Integer, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("status", Text, nullable=False),  # queued | sent | resolving | resolved | dropped | baseline
    Column("action", Text, nullable=False),  # firing | changed | reminder | resolved: what the next message says
    Column("group_key", Text, nullable=False),
    Column("next_at", Instant),  # queue and reminder clock; null = nothing to send
    Column("sent_at", Instant),
    Column("sends", Integer, nullable=False, server_default="0"),
    Column("told", Integer, nullable=False, server_default="0"),  # the finding's revision last told; 0 = nothing yet
    Column("at_most", Integer),  # findings in its next message, after a larger was refused; 0: alone, without details
    Column("batch", Text),  # the message in flight that carries this row; outlives a crash, and so its dedup key
    Column("error", Lossless),
)
Index("porting_alerts_sent", alerts.c.account, alerts.c.sent_at)
_some(alerts, "live", predicates.alert_is_live(alerts), "channel")
_some(alerts, "due", alerts.c.next_at.is_not(None), "next_at")

channels = Table(
    "porting_channels",
    metadata,
    _account(),
    Column("name", Text, primary_key=True),
    Column("first_look_at", Instant),  # when all that was wrong was queued for it as one message; null = not yet
    Column("error", Lossless),  # why it did not take the last message
    Column("failures", Integer, nullable=False, server_default="0"),  # in a row
    Column("paused_until", Instant),  # it failed: no message before
    Column("incident", Text),  # PagerDuty's of the first look, as long as it is open
    Column("digest_at", Instant),  # slot of the last digest; before the first, since when it is waited for
    Column("digest_paused_until", Instant),  # somebody sends it, or it failed: no digest before
)
