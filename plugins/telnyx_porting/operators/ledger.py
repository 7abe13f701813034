"""The operator that watches: it resolves connections and calls the scan."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.observability import stats

from telnyx_porting.errors import AuthenticationError, PermissionDeniedError
from telnyx_porting.flows.findings_health import clear, health
from telnyx_porting.flows.scan import scan
from telnyx_porting.operators.assets import EVENTS, SCANNED
from telnyx_porting.operators.base import PortingLedgerOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class TelnyxScanPortingEventsOperator(PortingLedgerOperator):
    """Read what is new in the Events API into the ledger, and seal the window that is proved complete.

    With ``outlets=[SCANNED]`` the asset ``telnyx_porting_events`` gets an event, with counts, when rows changed.

    :return: counts and bounds of the scan, as JSON.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Scan one account."""
        knobs, ledger, account = self.settings(), self.ledger(), self.telnyx_conn_id
        try:
            with self.client() as client:
                result = scan(ledger, account, client, knobs, datetime.now(UTC))
        except (AuthenticationError, PermissionDeniedError) as error:
            health(ledger, account, "key_refused", f"Telnyx refuses the key of this connection: {error}", "critical")
            raise
        clear(ledger, account, "key_refused")
        stats.incr("telnyx_porting.events_new", result.new)
        stats.incr("telnyx_porting.events_changed", result.changed)
        stats.incr("telnyx_porting.scan_requests", result.requests)
        if result.rows_changed and SCANNED in self.outlets:
            counts = {"account": account, "new": result.new, "changed": result.changed}
            context["outlet_events"][SCANNED].add(EVENTS, extra=counts)
        self.log.info(
            "%s: %d new, %d changed, %d late; complete up to %s",
            account,
            result.new,
            result.changed,
            result.late,
            result.sealed_until,
        )
        return _json(asdict(result))


def _json(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item.isoformat() if isinstance(item, datetime) else item for key, item in value.items()}
