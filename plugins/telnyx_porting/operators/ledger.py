"""The operator that watches: it resolves connections and calls the scan."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from telnyx_porting.compat import stats
from telnyx_porting.errors import REFUSED_SECRETS, FormError, ProxyRefusedError
from telnyx_porting.operators import links
from telnyx_porting.operators.assets import EVENTS, SCANNED
from telnyx_porting.operators.base import PortingLedgerOperator
from telnyx_porting.operators.forms import form_time
from telnyx_porting.settings.values import CRITICAL, LOW

if TYPE_CHECKING:
    from airflow.sdk import Context
    from pydantic import JsonValue

    from telnyx_porting.flows.account import Account


class TelnyxScanPortingEventsOperator(PortingLedgerOperator):
    """Read what is new in the Events API into the ledger, and seal the window that is proved complete.

    With ``outlets=[SCANNED]`` the asset ``telnyx_porting_events`` gets an event, with counts, when rows changed.

    :return: counts and bounds of the scan, as JSON.
    """

    operator_extra_links = links.HEALTH

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.events.scan import scan
        from telnyx_porting.flows.findings.health import clear, health

        try:
            with self.client(account) as client:
                result = scan(account, client)
        except REFUSED_SECRETS as error:
            who = "The proxy refuses" if isinstance(error, ProxyRefusedError) else "Telnyx refuses the key of"
            health(account, "key_refused", f"{who} this connection: {error}", CRITICAL)
            raise
        clear(account, "key_refused")
        stats.incr("telnyx_porting.events_new", result.new, tags={"account": account.id})
        stats.incr("telnyx_porting.events_changed", result.changed, tags={"account": account.id})
        stats.incr("telnyx_porting.scan_requests", result.requests, tags={"account": account.id})
        if (result.new or result.changed) and SCANNED in self.outlets:
            counts: dict[str, JsonValue] = {"account": account.id, "new": result.new, "changed": result.changed}
            context["outlet_events"][SCANNED].add(EVENTS, extra=counts)
        self.log.info(
            "%s: %d new, %d changed, %d late; complete up to %s",
            account.id,
            result.new,
            result.changed,
            result.late,
            result.sealed_until,
        )
        return asdict(result)


class TelnyxBackfillPortingEventsOperator(PortingLedgerOperator):
    """Read older history into the ledger; it only reads from Telnyx, and goes on where an earlier run stopped.

    :param since: earliest ``created_at``, ISO 8601 with a time zone. (templated)
    :param until: latest ``created_at``, ISO 8601 with a time zone. (templated)
    :return: counts and bounds, as JSON.
    """

    operator_extra_links = links.HEALTH

    template_fields = (*PortingLedgerOperator.template_fields, "since", "until")

    def __init__(self, *, since: str, until: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.since = since
        self.until = until

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.events.backfill import backfill

        since, until = form_time("from", self.since), form_time("to", self.until)
        if since is None or until is None:
            raise FormError("from" if since is None else "to", "", "a time such as 2026-10-01T00:00:00Z")
        with self.client(account) as client:
            result = backfill(account, client, since, until)
        stats.incr("telnyx_porting.events_new", result.new, tags={"account": account.id})
        self.log.info("%s: %d events read, %d new", account.id, result.read, result.new)
        return asdict(result)


class TelnyxAuditPortingLedgerOperator(PortingLedgerOperator):
    """Prove that the ledger holds what Telnyx has: all of it by count, and tonight's part id by id.

    What cannot be proved becomes a health finding.

    :param since: audit from here on only, ISO 8601 with a time zone. (templated)
    :param until: audit up to here only. (templated)
    :param by_ids: compare every id of the stretch instead of counting. (templated)
    :return: what was proved, as JSON.
    """

    operator_extra_links = links.HEALTH

    template_fields = (*PortingLedgerOperator.template_fields, "since", "until", "by_ids")

    def __init__(
        self, *, since: str | None = None, until: str | None = None, by_ids: bool | str = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.since = since
        self.until = until
        self.by_ids = by_ids

    def work(self, context: Context, account: Account) -> list[dict[str, Any]]:
        from telnyx_porting.flows.events.audit import audit
        from telnyx_porting.flows.events.nights import audit_again, audit_tonight, why_unproved
        from telnyx_porting.flows.findings.health import tell

        since, until = form_time("from", self.since), form_time("to", self.until)
        with self.client(account) as client:
            results = [audit(account, client, since, until, str(self.by_ids).lower() == "true")]
            if not (since or until):
                results += filter(None, (audit_tonight(account, client), audit_again(account, client)))
        for result in results:
            self.log.info("%s: %s", account.id, result.certificate)
            stats.incr("telnyx_porting.audit_found", result.found, tags={"account": account.id})
        tell(account, "audit", why_unproved(account), LOW)
        horizon = max((result.horizon for result in results if result.horizon is not None), default=None)
        text = f"Telnyx no longer has events before {horizon:%Y-%m-%d %H:%M} UTC; they are kept here" if horizon else ""
        tell(account, "horizon", text, LOW)  # once; `status` goes on showing it
        return [asdict(result) for result in results]


class TelnyxMaintainPortingLedgerOperator(PortingLedgerOperator):
    """Prune what retention lets go, merge old windows, give space back, copy the file if a setting says so.

    :return: counts and sizes, as JSON.
    """

    operator_extra_links = links.HEALTH

    def work(self, context: Context, account: Account) -> dict[str, Any]:
        from telnyx_porting.flows.desk.maintenance import maintain

        result = maintain(account)
        stats.gauge("telnyx_porting.ledger_bytes", result.bytes_after, tags={"account": account.id})
        return asdict(result)
