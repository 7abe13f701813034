"""What every operator that uses the ledger shares: its account, its settings, its ledger and its client."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from telnyx_porting.errors import WrongAccountError
from telnyx_porting.hooks.inputs import check_ids
from telnyx_porting.hooks.ledger import DEFAULT_CONN_ID, TelnyxLedgerHook
from telnyx_porting.hooks.outputs import for_airflow
from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.hooks.telnyx import TelnyxHook

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.sdk import Context

    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient
    from telnyx_porting.settings import Settings


class PortingLedgerOperator(BaseOperator):
    """Base of the operators that read or write the ledger of one account.

    A subclass implements :meth:`work`. The ledger is open for one `execute`, however that ends.

    :param telnyx_conn_id: Airflow connection of type ``telnyx``; it names the account everywhere. (templated)
    :param ledger_conn_id: Airflow connection of the ledger.
    """

    template_fields: Sequence[str] = ("telnyx_conn_id",)

    def __init__(
        self,
        *,
        telnyx_conn_id: str = TelnyxHook.default_conn_name,
        ledger_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.telnyx_conn_id = telnyx_conn_id
        self.ledger_conn_id = ledger_conn_id

    def settings(self) -> Settings:
        """Return the account's settings.

        :raises SettingsError: the first setting that is invalid, in one sentence.
        """
        return load_settings(self.telnyx_conn_id).require_valid()

    def execute(self, context: Context, event: Any = None) -> Any:
        """Work with the ledger open; after a deferral this begins anew.

        :raises SettingsError: an id is no text, or a setting is invalid.
        """
        from telnyx_porting.flows.account import Account

        check_ids(self)
        with TelnyxLedgerHook(self.ledger_conn_id).get_ledger() as ledger:
            return for_airflow(self.work(context, Account(ledger, self.telnyx_conn_id, self.settings())))

    def work(self, context: Context, account: Account) -> Any:
        """Do what the operator is for.

        :param account: with a ledger that is upgraded or checked.
        """
        raise NotImplementedError

    @contextmanager
    def client(self, account: Account) -> Iterator[AccountClient]:
        """Open a client of the account's own Telnyx user that leaves room for other software on it.

        Whatever it is used for, Telnyx tells it the time: a wrong clock becomes a finding.

        :raises WrongAccountError: the connection leads to somebody else.
        """
        from telnyx_porting.flows.findings.health import watch_clock
        from telnyx_porting.flows.identity import accept

        own, hook = account.settings, TelnyxHook(account.id)
        with hook.get_client_within(own) as client:
            ours = True
            try:
                yield accept(account, client)
            except WrongAccountError:
                ours = False  # nor is the clock of whoever answered
                raise
            finally:
                if ours:
                    watch_clock(account, client.clock_offset)
