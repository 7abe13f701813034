"""Republish events without a ledger: paced, crash-safe, one outcome per id. Nobody looks whether they arrive."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any

import anyio
from airflow.sdk import BaseOperator
from anyio.from_thread import BlockingPortal, start_blocking_portal

from telnyx_porting.errors import (
    REFUSED_SECRETS,
    NotFoundError,
    RateLimitedError,
    StatusError,
    TelnyxError,
    TelnyxPortingError,
)
from telnyx_porting.hooks.inputs import as_ids
from telnyx_porting.hooks.telnyx import TelnyxHook
from telnyx_porting.operators.sendlog import ACCEPTED, NOT_FOUND, NOT_SENT, REFUSED, UNKNOWN, Block, SendLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from telnyx_porting.client import AsyncTelnyxClient

BLOCK = 10  # ids announced by one write to the state store; a worker that dies leaves at most two blocks unknown
IN_A_ROW = 5  # answers of one bad kind in a row that are no longer about a single id
TRIES = 5  # for a request that certainly was not processed
LAST_ANSWERS = 1.5  # seconds to wait for answers after SIGTERM; Airflow kills 5 s after it


class Sender:
    """
    Sends one id at a time and says what became of it; lives on the portal's event loop.

    :param client: an open client; it paces and bounds what runs at once
    """

    def __init__(self, client: AsyncTelnyxClient) -> None:
        self._client = client
        self._row: list[str] = []
        self._in_flight: set[str] = set()
        self._stopped = False
        self._first = anyio.Lock()
        self._let_in = False
        self.halted: TelnyxError | None = None

    async def stop(self) -> None:
        """Begin no further request. On the event loop, so that no request begins unseen meanwhile."""
        self._stopped = True

    async def in_flight(self) -> set[str]:
        """Tell whose request may be on its way right now."""
        return set(self._in_flight)

    async def send(self, event_id: str) -> str:
        """
        Ask for one event to be republished, again only when Telnyx certainly did not process the request.

        :param event_id: the event
        :return: its outcome
        """
        if not self._let_in:  # the first goes alone: a wrong secret is tried once, not by all at once
            async with self._first:
                if not self._let_in:
                    outcome = await self._send(event_id)
                    self._let_in = True
                    return outcome
        return await self._send(event_id)

    async def _send(self, event_id: str) -> str:
        for attempt in range(1, TRIES + 1):
            slot = await self._client.reserve_slot()
            if self._stopped or self.halted:
                slot.release()
                return NOT_SENT
            self._in_flight.add(event_id)
            try:
                await self._client.republish_porting_event(event_id, slot=slot)
            except TelnyxError as error:
                if (outcome := self._judge(error, attempt)) is not None:
                    return outcome
                wait_for = 0.0 if isinstance(error, RateLimitedError) else 2.0**attempt / 4
            else:
                self._row.clear()
                return ACCEPTED
            finally:
                self._in_flight.discard(event_id)
            await anyio.sleep(wait_for)  # after a 429 the pacer knows better how long
        return NOT_SENT

    def _judge(self, error: TelnyxError, attempt: int) -> str | None:
        """Turn an error into an outcome, or into None: try again."""
        if isinstance(error, REFUSED_SECRETS):
            self.halted = error
            return NOT_SENT
        if isinstance(error, NotFoundError):
            return self._in_a_row(NOT_FOUND, error)
        if isinstance(error, StatusError) and error.not_processed and not isinstance(error, RateLimitedError):
            return REFUSED
        if not error.not_processed:
            return self._in_a_row(UNKNOWN, error)
        if attempt == TRIES:
            self.halted = error
        return None

    def _in_a_row(self, outcome: str, error: TelnyxError) -> str:
        self._row = [*self._row, outcome] if outcome in self._row[-1:] else [outcome]
        if len(self._row) >= IN_A_ROW:
            self.halted = error
        return outcome


class TelnyxRepublishPortingEventsOperator(BaseOperator):
    """
    Ask Telnyx to send the notifications of events again. Needs no ledger, and proves no arrival.

    Each id ends as ``accepted`` (Telnyx took the request), ``not_found``, ``refused``, ``unknown`` (the request may
    have been processed: no answer, 5xx, or the worker died) or ``not_sent``. One id never aborts the rest, but
    401, 403, and five 404 or five unknown outcomes in a row stop the batch and fail the task.

    Crash-safe: what is sent is written to the task's state store before and after each block of ids. A retry goes on
    where the last try was; ids that were in flight come back ``unknown`` and are not sent again unless
    ``resend_unknown``; a finished task that is cleared sends nothing again unless ``force``. Ids go out in the order
    given, as many at once as the connection's ``max_concurrency`` lets.

    :param event_ids: ids, or events with an ``id`` as the list operator returns them (templated)
    :param resend_unknown: send ids of unknown outcome again; the consumer may get a notification twice
    :param force: send everything again when a finished task is cleared
    :param telnyx_conn_id: connection of type ``telnyx`` (templated)
    :return: ``{"counts": {outcome: number}, "outcomes": {id: outcome}}``
    """

    template_fields: Sequence[str] = ("event_ids", "telnyx_conn_id")

    def __init__(
        self,
        *,
        event_ids: list[str] | str,
        resend_unknown: bool = False,
        force: bool = False,
        telnyx_conn_id: str = TelnyxHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.event_ids = event_ids
        self.resend_unknown = resend_unknown
        self.force = force
        self.telnyx_conn_id = telnyx_conn_id
        self._killed = False

    def on_kill(self) -> None:
        """Let ``execute`` write down what it knows; it looks several times a second."""
        self._killed = True

    def execute(self, context: Context) -> dict[str, Any]:
        ids = as_ids("event_ids", self.event_ids)
        log = SendLog(context["task_state_store"])
        if log.finished and self.force:
            log.forget()
        repeatable = {NOT_SENT, UNKNOWN} if self.resend_unknown else {NOT_SENT}
        todo = [event_id for event_id in ids if log.outcomes.get(event_id, NOT_SENT) in repeatable]
        if len(todo) < len(ids):
            self.log.warning(
                "%d of %d events were sent by an earlier try or run of this task and are not sent again (%s).",
                len(ids) - len(todo),
                len(ids),
                "force=True would" if log.finished else "resend_unknown=True would send those of unknown outcome",
            )
        if todo:
            self._send(todo, log)
        log.finish()
        outcomes = {event_id: log.outcomes.get(event_id, NOT_SENT) for event_id in ids}
        return {"counts": dict(Counter(outcomes.values())), "outcomes": outcomes}

    def _send(self, todo: list[str], log: SendLog) -> None:
        hook = TelnyxHook(self.telnyx_conn_id)
        _ = hook.arguments  # read here: on the event loop it would block
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(hook.aclient()) as client:
            sender = Sender(client)
            pending: dict[Future[str], tuple[Block, str]] = {}
            try:
                self._work(todo, log, portal, sender, pending)
            finally:
                self._wind_up(log, portal, sender, pending)
            # Raised inside the portal's block: that ends what still waits for a slot.
            if self._killed:
                raise TelnyxPortingError("stopped from outside; what was sent is written down, a retry goes on there")
            if sender.halted:
                raise sender.halted

    def _work(
        self,
        todo: list[str],
        log: SendLog,
        portal: BlockingPortal,
        sender: Sender,
        pending: dict[Future[str], tuple[Block, str]],
    ) -> None:
        blocks = (todo[start : start + BLOCK] for start in range(0, len(todo), BLOCK))
        tally: Counter[str] = Counter()
        while not self._killed and not sender.halted:
            # The next block is announced while the last one still runs, so that sending never pauses for it.
            if len(pending) <= BLOCK // 2 and (ids := next(blocks, None)):
                block = log.announce(ids)
                pending.update({portal.start_task_soon(sender.send, each): (block, each) for each in ids})
            if not pending:
                return
            for future in wait(pending, timeout=0.2, return_when=FIRST_COMPLETED).done:
                block, event_id = pending.pop(future)
                block.outcomes[event_id] = future.result()
                if block.settled:
                    log.settle(block)
                    tally.update(block.outcomes.values())
                    self.log.info("%d of %d done: %s", tally.total(), len(todo), dict(tally))

    def _wind_up(
        self,
        log: SendLog,
        portal: BlockingPortal,
        sender: Sender,
        pending: dict[Future[str], tuple[Block, str]],
    ) -> None:
        """Begin nothing more, wait for answers on their way, and write down what is known."""
        if not pending:
            return
        portal.call(sender.stop)
        began = time.monotonic()
        while flying := portal.call(sender.in_flight):
            if self._killed and time.monotonic() - began > LAST_ANSWERS:
                break
            wait([future for future, (_, each) in pending.items() if each in flying], timeout=0.1)
        for future, (block, event_id) in pending.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                block.outcomes[event_id] = future.result()
            elif event_id not in flying:
                block.outcomes[event_id] = NOT_SENT
        for block in {block.number: block for block, _ in pending.values()}.values():
            log.settle(block)
