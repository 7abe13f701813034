"""Send one event: ask the time, claim, POST, write what came of it before the next.

Claim = intent = one row: after the pacer granted the slot, one conditional UPDATE is committed, then the POST is
written before `send_by`. A crash leaves `sending`, which is looked at and never blindly sent again. Residual risk,
accepted: a process paused between its check of `send_by` and the socket may send late.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
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
from telnyx_porting.flows.clock import CommonClock, clock_trouble
from telnyx_porting.flows.republish.claim import NotClaimed, claim, outcome
from telnyx_porting.ledger.states import Republish

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient

SEND_BY = timedelta(seconds=10)
NO_CONNECTION = timedelta(seconds=30)


@dataclass(frozen=True)
class Sent:
    """The request was made, and what came of it is written: accepted, unknown or refused."""

    state: Republish
    why: str = ""


@dataclass(frozen=True)
class Later:
    """Nothing can be sent for some time."""

    pause: timedelta
    why: str


@dataclass(frozen=True)
class Never:
    """Nothing can be sent at all until somebody changes something."""

    why: str


class Sender:
    """Claims and sends single events, each with an outcome that is written before the next."""

    def __init__(self, account: Account, client: AccountClient, offset: timedelta) -> None:
        self._account, self._client, self._offset = account, client, offset
        self._clock = CommonClock.of(account.clock)
        self._owner = uuid.uuid4().hex
        self._told = False  # the time

    def send(self, row: RowMapping) -> Sent | NotClaimed | Later | Never:
        """Send one event, if that is still right, and write what came of it."""
        try:
            if (trouble := self._clock_trouble(row)) is not None:
                return Never(trouble)
            claimed = self._claim(row)
        except REFUSED_SECRETS as error:
            return Never(str(error))
        except TelnyxError as error:
            return Later(_pause(error), str(error))
        if isinstance(claimed, NotClaimed):
            return claimed
        slot, send_by = claimed
        failpoint("republish.claimed")
        try:
            receipt = self._client.republish_porting_event(row["event_id"], slot=slot, send_by=send_by)
        except REFUSED_SECRETS as error:
            self._write(row, Republish.PLANNED, str(error))
            return Never(str(error))
        except (TelnyxError, OSError) as error:
            state = state_after(error)
            failpoint("republish.posted")
            self._write(row, state, str(error))
            return Later(_pause(error), str(error)) if state == Republish.PLANNED else Sent(state, str(error))
        failpoint("republish.posted")
        self._write(row, Republish.ACCEPTED, None, receipt.date)
        failpoint("republish.written")
        return Sent(Republish.ACCEPTED)

    def _clock_trouble(self, row: RowMapping) -> str | None:
        """Return why the clocks forbid a send: Telnyx is asked before the first one, then each answer tells."""
        if not self._told:
            with suppress(NotFoundError, ContractError):
                self._client.get_porting_event(row["event_id"])
            self._told = True
            if (offset := self._client.clock_offset) is not None:
                self._offset = offset - self._clock.ahead
        return clock_trouble(self._client.clock_offset)

    def _claim(self, row: RowMapping) -> tuple[int, datetime] | NotClaimed:
        """Return the slot and, counted from the claim, until when the POST may be written; or why there is none."""
        while True:
            failpoint("republish.before_slot")
            slot = self._client.reserve_slot()
            failpoint("republish.before_claim")
            now = self._clock()
            obstacle = claim(self._account, row, self._owner, self._offset, now)
            if obstacle is None:
                return slot, self._clock.to_own(now) + SEND_BY
            if isinstance(obstacle, NotClaimed):
                return obstacle
            time.sleep(obstacle.total_seconds())

    def _write(self, row: RowMapping, state: Republish, text: str | None, date: datetime | None = None) -> None:
        outcome(self._account, row, self._owner, state, text, date)


def state_after(error: Exception) -> Republish:
    """Return what an error proves of its request: refused, without effect (`planned`), or nothing (`unknown`)."""
    if isinstance(error, TelnyxError) and error.not_processed:
        refused = isinstance(error, StatusError) and not isinstance(error, RateLimitedError)
        return Republish.REFUSED if refused else Republish.PLANNED
    return Republish.UNKNOWN


def _pause(error: Exception) -> timedelta:
    if isinstance(error, RateLimitedError):
        return timedelta(seconds=min(max(error.retry_after or 5.0, 1.0), 300.0))
    return NO_CONNECTION
