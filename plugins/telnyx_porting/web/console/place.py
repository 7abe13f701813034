"""Which ledger and which account a request is about, and the addresses of the pages around it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, unquote, urlencode

from fastapi import Depends, HTTPException, Query, Request
from markupsafe import Markup, escape

from telnyx_porting.flows.account import Account
from telnyx_porting.hooks.ledger import TelnyxLedgerHook
from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.web.console.access import Rights, User


class Ledgers:
    """The ledger that Airflow's connection names now, kept open between requests."""

    def __init__(self) -> None:
        self._open: tuple[object, Ledger] | None = None  # and its URL
        self._lock = threading.Lock()

    def now(self) -> Ledger:
        """Return the ledger, upgraded or checked.

        :raises LedgerError: one sentence on what to set, run or repair.
        """
        url = TelnyxLedgerHook().get_url()
        with self._lock:
            if self._open is None or self._open[0] != url:
                self.close()
                self._open = url, Ledger(url)
            ledger = self._open[1]
        return ledger.ready()

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


@dataclass(frozen=True)
class Visit:
    """A logged-in person looking at one account."""

    request: Request
    user: str
    rights: frozenset[str]
    account: Account
    accounts: tuple[str, ...]

    def link(self, *path: str, **query: object) -> Markup:
        """Return the address of a page about this account, wherever the console is mounted.

        :param path: its parts, such as ``"orders", order_id``.
        :param query: its filters; None and "" are left out.
        """
        return address(self.request, *path, account=self.account.id, **query)

    def same(self, **change: object) -> Markup:
        """Return this page's address with some filters changed; from the first page of rows on, unless one is named."""
        said = {name: value for name, value in self.request.query_params.items() if name not in ("page", "account")}
        path = self.request.url.path.removeprefix(self.request.scope["root_path"]).strip("/")
        return self.link(*map(unquote, path.split("/")), **{**said, **change})


def address(request: Request, *path: str, **query: object) -> Markup:
    """Return an address below the console's own, behind whatever prefix Airflow has."""
    said = urlencode({name: str(value) for name, value in query.items() if value not in (None, "")})
    below = "/".join(quote(part, safe="") for part in path)
    return escape(f"{request.scope['root_path']}/{below}{'?' if said else ''}{said}")


def airflow_root(request: Request) -> str:
    """Return the path of Airflow itself, without a slash at its end."""
    return str(request.scope["root_path"]).rpartition("/")[0]


def chosen(account: Annotated[str, Query(max_length=250)] = "") -> str:
    """Return the account that the address names, else the first.

    :raises HTTPException: 404 when it is not one of ours.
    """
    ours = load_settings().accounts
    if account and account not in ours:
        raise HTTPException(404, f"the account {account!r} is not watched here; watched are: {', '.join(ours)}")
    return account or ours[0]


def visit(request: Request, user: User, rights: Rights, account: Annotated[str, Depends(chosen)]) -> Visit:
    """Open the ledger for one request."""
    ledger = request.app.state.ledgers.now()
    own = load_settings(account)
    return Visit(request, user, rights, Account(ledger, account, own), own.accounts)


Here = Annotated[Visit, Depends(visit)]
