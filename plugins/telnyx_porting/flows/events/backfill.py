"""Backfill: read older history, resumably. It reads from Telnyx and writes to the ledger, nothing else.

What was read before is not read again: each proved part is sealed in the transaction that stores its last rows, and the
next run starts with the gaps. Where the history read meets what the scan covers, the coverage begins earlier.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, update

from telnyx_porting.errors import LedgerError, TelnyxPortingError
from telnyx_porting.flows.events.coverage import check_stretch, extend, gaps, say_how_far, scanned, sealable
from telnyx_porting.flows.events.odd import keep_odd
from telnyx_porting.flows.events.store import Stored, store
from telnyx_porting.flows.events.unread import is_stretch, leave_open
from telnyx_porting.flows.identity import accept
from telnyx_porting.ledger.states import Feed, MadeBy, Method
from telnyx_porting.ledger.tables import windows

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from telnyx_porting.client import ProvedWindow, TelnyxClient
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.events.coverage import Stretch
    from telnyx_porting.flows.identity import AccountClient


@dataclass(frozen=True)
class BackfillResult:
    """What one backfill did. Counts only."""

    account: str
    since: datetime
    until: datetime
    new: int
    changed: int
    read: int
    requests: int
    left: int  # gaps that could not be sealed yet: the provider's clock calls them too young


def backfill(account: Account, client: TelnyxClient, since: datetime, until: datetime) -> BackfillResult:
    """Read what has not been read yet of a stretch of history.

    :param since: earliest `created_at`, with a time zone.
    :param until: latest `created_at`, with a time zone.
    :raises FormError: for an impossible stretch.
    :raises NotScannedError: for an account that was never scanned.
    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user.
    :raises TelnyxError: the provider could not be read; what was proved until then is kept, the rest says why.
    """
    now = account.clock()
    check_stretch(since, until, now)
    until = min(until, now - account.settings.settle)
    client = accept(account, client)
    with account.ledger.read() as connection:
        scanned(connection, account.id)
        todo = gaps(connection, account.id, since, until)
    before = client.requests_made
    run = _Run(account, client, now, (since, until))
    for stretch in todo:
        run.fill(*stretch)
    with account.ledger.read() as connection:
        left = gaps(connection, account.id, since, until)
    new, changed, requests = run.stored.new, run.stored.changed, client.requests_made - before
    return BackfillResult(account.id, since, until, new, changed, run.read, requests, len(left))


class _Run:
    def __init__(self, account: Account, client: AccountClient, now: datetime, whole: Stretch) -> None:
        self.account, self.client, self.now, self.whole = account, client, now, whole
        self.stored = Stored()
        self.read = 0
        self.started = time.monotonic()

    def fill(self, since: datetime, until: datetime) -> None:
        """Read one gap, oldest first; a row for what is done grows while a row for what is left shrinks."""
        run = uuid.uuid4().hex
        left: dict[str, Any] = {"account": self.account.id, "id": f"{run}:left", "since": since, "until": until}
        left |= {"made_by": MadeBy.BACKFILL, "started_at": self.now, "open_reason": "not finished"}
        rest = (windows.c.account == self.account.id, windows.c.id == left["id"])
        with self.account.ledger.write() as connection:
            mine = (windows.c.account == self.account.id, windows.c.made_by == MadeBy.BACKFILL)
            inside = (windows.c.since >= since, windows.c.until <= until, windows.c.sealed_at.is_(None), ~is_stretch())
            connection.execute(delete(windows).where(*mine, *inside))
            self.account.ledger.upsert(connection, windows, [left])
        done: dict[str, Any] = {**left, "id": run, "held": 0, "requests": 0, "method": Method.IDS, "open_reason": None}
        reached = since

        def seal(part: ProvedWindow, connection: Connection) -> None:
            nonlocal reached
            end = sealable(part, self.account.settings, self.now)
            if end <= reached or (part.since or since) > reached:
                return
            reached = end
            if part.unread:  # what was read before it stays sealed as it is; what comes after begins anew
                leave_open(connection, self.account, part, MadeBy.BACKFILL, self.now)
                done.update(id=uuid.uuid4().hex, since=end, held=0, requests=0, as_of=None)
            else:
                done.update(until=end, held=done["held"] + len(part.rows), requests=done["requests"] + part.requests)
                done.update(counted=done["held"], sealed_at=self.now, as_of=done.get("as_of") or part.as_of)
                change = {name: done[name] for name in ("until", "held", "counted", "requests", "sealed_at")}
                self.account.ledger.upsert(connection, windows, [done], change=change)
            smaller: Any = delete(windows) if end >= until else update(windows).values(since=end)
            connection.execute(smaller.where(*rest))
            extend(connection, self.account.id)

        try:
            for part in self.client.iter_proved_windows(since, until):
                self.stored += store(self.account, part.rows, self.now, finish=partial(seal, part))
                self.read += len(part.rows)
                keep_odd(self.account, Feed.EVENTS, [*part.unread, *part.repeated, *self.stored.odd], self.now)
                say_how_far(self.started, self.whole, part.until, self.read)
        except TelnyxPortingError as error:
            if not isinstance(error, LedgerError):
                with self.account.ledger.write() as connection:
                    connection.execute(update(windows).where(*rest).values(open_reason=str(error)))
            raise
