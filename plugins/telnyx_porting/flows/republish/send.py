"""Send one event: ask the time, claim, POST, write what came of it before the next.

Claim = intent = one row: after the pacer granted the slot, one conditional UPDATE is committed, then the POST is
written before `send_by`. A crash leaves `sending`, which is looked at and never blindly sent again. Residual risk,
accepted: a process paused between its check of `send_by` and the socket may send late.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from telnyx_porting.errors import (
    REFUSED_SECRETS,
    ContractError,
    NotFoundError,
    RateLimitedError,
    StatusError,
    TelnyxError,
)
from telnyx_porting.failpoints import failpoint
from telnyx_porting.flows.clock import clock_trouble
from telnyx_porting.flows.republish.claim import claim, outcome
from telnyx_porting.ledger.states import Republish

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from telnyx_porting.client.sync import SyncSlot
    from telnyx_porting.flows.clock import CommonClock
    from telnyx_porting.flows.identity import AccountClient
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

SEND_BY = timedelta(seconds=10)
NO_CONNECTION = timedelta(seconds=30)
Clock = Callable[[], datetime]


class Sender:
    """Claims and sends single events, each with an outcome that is written before the next."""

    def __init__(
        self, ledger: Ledger, client: AccountClient, settings: Settings, offset: timedelta, clock: CommonClock
    ) -> None:
        self._ledger, self._client, self._settings, self._offset = ledger, client, settings, offset
        self._clock = clock
        self._owner = uuid.uuid4().hex
        self._told = False  # the time
        self.pause = NO_CONNECTION

    def send(self, row: RowMapping) -> tuple[str, str]:
        """Send one event.

        :return: accepted, unknown or refused as written; skipped (nothing was sent); stop (the plan may not go on now);
            later (nothing can be sent for `pause`); halt (nothing can be sent at all). And why.
        """
        try:
            if (trouble := self._clock_trouble(row)) is not None:
                return "halt", trouble
            claimed = self._claim(row)
        except TelnyxError as error:
            self.pause = _pause(error)
            return ("halt" if isinstance(error, REFUSED_SECRETS) else "later"), str(error)
        if isinstance(claimed, str):
            return claimed, ""
        slot, send_by = claimed
        failpoint("republish.claimed")
        try:
            receipt = self._client.republish_porting_event(row["event_id"], slot=slot, send_by=send_by)
        except REFUSED_SECRETS as error:
            self._write(row, Republish.PLANNED, str(error))
            return "halt", str(error)
        except (TelnyxError, OSError) as error:
            state = _state_after(error)
            failpoint("republish.posted")
            self._write(row, state, str(error))
            self.pause = _pause(error)
            return ("later" if state == Republish.PLANNED else state), str(error)
        failpoint("republish.posted")
        self._write(row, Republish.ACCEPTED, None, receipt.date)
        failpoint("republish.written")
        return Republish.ACCEPTED, ""

    def _clock_trouble(self, row: RowMapping) -> str | None:
        """Return why the clocks forbid a send: Telnyx is asked before the first one, then each answer tells."""
        if not self._told:
            with suppress(NotFoundError, ContractError):
                self._client.get_porting_event(row["event_id"])
            self._told = True
            if (offset := self._client.clock_offset) is not None:
                self._offset = offset - self._clock.ahead
        return clock_trouble(self._client.clock_offset)

    def _claim(self, row: RowMapping) -> tuple[SyncSlot, datetime] | str:
        """Return the slot and, counted from the claim, until when the POST may be written; or why there is none."""
        while True:
            failpoint("republish.before_slot")
            slot = self._client.reserve_slot()
            failpoint("republish.before_claim")
            now = self._clock()
            try:
                claimed = claim(self._ledger, row, self._owner, self._settings, self._offset, now)
            except BaseException:
                slot.release()
                raise
            if claimed is True:
                return slot, self._clock.to_own(now) + SEND_BY
            slot.release()
            if isinstance(claimed, timedelta):
                time.sleep(claimed.total_seconds())
            else:
                return "skipped" if claimed is False else "stop"

    def _write(self, row: RowMapping, state: str, text: str | None, date: datetime | None = None) -> None:
        outcome(self._ledger, row, self._owner, self._settings, state, text, date)


def _state_after(error: Exception) -> Republish:
    if isinstance(error, TelnyxError) and error.not_processed:
        refused = isinstance(error, StatusError) and not isinstance(error, RateLimitedError)
        return Republish.REFUSED if refused else Republish.PLANNED
    return Republish.UNKNOWN


def _pause(error: Exception) -> timedelta:
    if isinstance(error, RateLimitedError):
        return timedelta(seconds=min(max(error.retry_after or 5.0, 1.0), 300.0))
    return NO_CONNECTION
