"""Preflight from Airflow: the flow's lines, and those about what Airflow itself must have."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from telnyx_porting.errors import SettingsError, TelnyxPortingError
from telnyx_porting.hooks.ledger import TelnyxLedgerHook
from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.hooks.telnyx import TelnyxHook
from telnyx_porting.operators import links
from telnyx_porting.operators.base import PortingLedgerOperator
from telnyx_porting.operators.retries import POOL
from telnyx_porting.settings.values import HIGH, LOW

if TYPE_CHECKING:
    from airflow.sdk import Context

    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.desk.preflight import Line
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings


def check(account: str, ledger: Ledger | None = None) -> list[Line]:
    """Look at one account, with what Airflow must know for it; also for the command line.

    :param ledger: open already; None: that of the connection.
    """
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.desk.preflight import Line, preflight

    own = load_settings(account)
    try:
        client = TelnyxHook(account).get_client_within(own)
    except AirflowNotFoundException:
        return [Line(False, f"connection {account!r}", "create it: type telnyx, the API key as password")]
    except SettingsError as error:
        return [Line(False, f"connection {account!r}", str(error))]
    lines = [Line(True, f"connection {account!r} is there ({client.base_url})")]
    with ExitStack() as stack:
        try:
            held = ledger or stack.enter_context(TelnyxLedgerHook().get_ledger())
        except TelnyxPortingError as error:
            return [*lines, Line(False, "ledger", str(error))]
        lines += preflight(Account(held, account, own), stack.enter_context(client))
    return [*lines, *_connections(own)]


def pool() -> Line:
    """Look whether the pool of all requests to Telnyx exists. Not from a task: it may not read Airflow's database."""
    from airflow.models.pool import Pool

    from telnyx_porting.flows.desk.preflight import Line

    try:
        slots = Pool.get_pool(POOL)
    except Exception as error:
        return Line(False, f"pool {POOL}", f"Airflow's database could not be read: {type(error).__name__}")
    if slots is None:
        return Line(False, f"pool {POOL}", f'airflow pools set {POOL} 4 "requests to Telnyx"')
    return Line(True, f"pool {POOL} has {slots.slots} slots")


def _connections(own: Settings) -> list[Line]:
    from telnyx_porting.flows.alerts.channels import channels_of
    from telnyx_porting.flows.desk.preflight import Line

    lines = []
    for name in sorted({channel.connection for channel in channels_of(own)}):
        try:
            BaseHook.get_connection(name)
        except AirflowNotFoundException:
            lines.append(Line(False, f"connection {name!r}", "create it: an alert channel uses it"))
        else:
            lines.append(Line(True, f"connection {name!r} is there"))
    return lines


class TelnyxPreflightPortingOperator(PortingLedgerOperator):
    """Look whether everything is in place, say it in the log, and open a `health` finding when something is to do.

    A missing subscription is a finding of its own, because everything else rests on it. That the pool ``telnyx_api``
    exists is proved by this task running in it.

    :return: the lines, as text.
    """

    operator_extra_links = links.HEALTH

    def settings(self) -> Settings:
        """Return the account's settings: what is invalid among them is one of the lines."""
        return load_settings(self.telnyx_conn_id)

    def work(self, context: Context, account: Account) -> list[str]:
        from telnyx_porting.flows.desk.preflight import SUBSCRIPTION, keep_lines
        from telnyx_porting.flows.findings.health import tell

        lines = check(account.id, account.ledger)
        keep_lines(account, lines)
        self.log.info("preflight of %s:\n%s", account.id, "\n".join(map(str, lines)))
        wrong = [line for line in lines if not line.ok]
        missing = [line.todo for line in wrong if line.what == SUBSCRIPTION]
        others = [f"{line.what}: {line.todo}" for line in wrong if line.what != SUBSCRIPTION]
        tell(account, SUBSCRIPTION, "; ".join(missing)[:600], HIGH)
        tell(account, "preflight", "; ".join(others)[:600], LOW)
        return [str(line) for line in lines]
