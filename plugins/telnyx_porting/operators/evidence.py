"""Operators that look whether notifications arrived: read the evidence, reach verdicts."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowSkipException

from telnyx_porting.errors import NotFoundError, PermissionDeniedError, SettingsError
from telnyx_porting.ledger.states import Feed
from telnyx_porting.operators import links
from telnyx_porting.operators.base import PortingLedgerOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow.sdk import Context

    from telnyx_porting.flows.account import Account

ROWS_AT_ONCE = 2_000


class TelnyxReadPortingDeliveriesOperator(PortingLedgerOperator):
    """Read evidence that is pulled: the provider's delivery records (``GET /webhook_deliveries``).

    :return: counts and coverage, as JSON.
    """

    operator_extra_links = links.MISSED

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.deliveries.pull import read_deliveries

        with self.client(account) as client:
            try:
                result = read_deliveries(account, client)
            except (PermissionDeniedError, NotFoundError) as error:
                if account.settings.consumer_of_record.startswith(Feed.DELIVERIES):
                    raise
                raise AirflowSkipException(f"the delivery records may not be read: {error}") from error
        return asdict(result)


class TelnyxReadPortingTableOperator(PortingLedgerOperator):
    """Read evidence from a table of yours, over any Airflow SQL connection. Skips when none is set.

    For teams that have a receiver already. The connection is the setting ``evidence_connection``, the feed is called
    ``table:<connection>``; make it the consumer of record with the setting ``consumer_of_record``. The columns of
    ``evidence_query`` are named, or by ``evidence_columns`` mapped to, ``id``, ``received_at`` and ``body`` (the
    webhook: text, bytes or JSON), or ``webhook_id``, ``event_type`` and ``order_id`` instead of ``body``; optionally
    ``signed_at`` (the header ``telnyx-timestamp``), ``destination`` and ``ok``. In it ``{since}`` is replaced by the
    time from which on rows are wanted, such as ``2026-10-01 12:00:00+00:00``, for example
    ``SELECT id, received_at, body FROM webhooks WHERE received_at >= '{since}'``; for columns of other types see
    docs/operations.md.

    :return: counts and coverage, as JSON.
    """

    operator_extra_links = links.MISSED

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.deliveries.table import read_table
        from telnyx_porting.flows.findings.health import tell

        settings = account.settings
        if not (conn_id := settings.evidence_connection):
            raise AirflowSkipException("no table of yours is set: evidence_connection is empty")
        rows = table_rows(conn_id, settings.evidence_query, settings.evidence_columns)
        result = read_table(account, f"table:{conn_id}", rows)
        tell(account, "evidence_table", result.trouble)
        return asdict(result)


def table_rows(conn_id: str, query: str, columns: Mapping[str, str]) -> Callable[[datetime], Iterator[dict[str, Any]]]:
    """Return what yields a table's rows since a time, under our names.

    :raises SettingsError: the query is empty, or a column is none of ours.
    """
    from telnyx_porting.flows.deliveries.table import COLUMNS

    if not query.strip():
        expected = "SQL such as SELECT id, received_at, body FROM webhooks WHERE received_at >= '{since}'"
        raise SettingsError("evidence_query", query, expected)
    if unknown := sorted(set(columns) - set(COLUMNS)):
        raise SettingsError("evidence_columns", unknown[0], f"one of {', '.join(COLUMNS)}")
    theirs = {ours: columns.get(ours, ours).lower() for ours in COLUMNS}

    def rows(since: datetime) -> Iterator[dict[str, Any]]:
        hook = BaseHook.get_connection(conn_id).get_hook()
        # With its offset, or the session's zone would be taken. To the second, and a second early: text of whole
        # seconds is compared with it too.
        begin = (since - timedelta(seconds=1)).astimezone(UTC)
        text = query.replace("{since}", begin.isoformat(" ", "seconds"))
        with closing(hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(text)
            names = [column[0].lower() for column in cursor.description]
            while found := cursor.fetchmany(ROWS_AT_ONCE):
                for row in found:
                    by_name = dict(zip(names, row, strict=True))
                    yield {ours: by_name[name] for ours, name in theirs.items() if name in by_name}

    return rows


class TelnyxSettlePortingDeliveriesOperator(PortingLedgerOperator):
    """Match evidence to events, decide what arrived and what is missed, and settle open republishes.

    Reads and writes the ledger only. What keeps it from deciding becomes a health finding.

    :return: verdicts reached, as JSON.
    """

    operator_extra_links = links.MISSED

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.deliveries.settle import settle
        from telnyx_porting.flows.findings.health import tell

        result = settle(account)
        tell(account, "evidence", result.held_back)
        tell(account, "consumer_of_record", result.undecided)
        self.log.info("%s: verdicts %s, %d open", account.id, result.verdicts or "none", result.unresolved)
        return asdict(result)
