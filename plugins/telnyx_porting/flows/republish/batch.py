"""Send without a ledger: one id after the other, each intent kept before its request. Nobody looks whether it arrived.

What is kept is kept by event id, so that it says the same in whichever order, task or try an id is met again.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from telnyx_porting.errors import REFUSED_SECRETS, NotFoundError, RateLimitedError, TelnyxError, TelnyxPortingError
from telnyx_porting.flows.republish.send import state_after
from telnyx_porting.ledger.states import Republish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from telnyx_porting.client import TelnyxClient

log = logging.getLogger(__name__)
IN_A_ROW = 5  # answers of one bad kind in a row that are no longer about a single id
TRIES = 5  # for a request that certainly was not processed
TOLD_EVERY = 10  # ids
LIST = "list"  # the key of what is kept about all ids


class Outcome(StrEnum):
    """What became of one id."""

    ACCEPTED = "accepted"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    UNKNOWN = "unknown"  # some request may have been processed
    NOT_SENT = "not_sent"


@dataclass(frozen=True)
class Memory:
    """JSON values by key, durable when `set` returns: they outlive crashes, retries and clears."""

    get: Callable[[str], Any]  # None: not there
    set: Callable[[str, Any], None]
    clear: Callable[[], None]


def send_batch(
    client: TelnyxClient,
    ids: Sequence[str],
    memory: Memory,
    *,
    resend_unknown: bool = False,
    force: bool = False,
    mapped: bool = False,
    go_on: Callable[[], bool] = lambda: True,
) -> dict[str, Outcome]:
    """Ask for each event to be republished that was not asked for yet, in the order given.

    :param client: open; its pace is that of the requests.
    :param resend_unknown: send also what may have been sent.
    :param force: forget what was sent if the list was worked through.
    :param mapped: other memories hold other parts of the ids: when the list is not the one that this memory knows, an
        id without an entry may have been sent under another of them, and is unknown.
    :param go_on: asked before each request.
    :raises TelnyxError: 401, 403, an unreachable host, or five 404 or five unknown outcomes in a row; nothing more is
        sent, and what was sent is kept.
    :raises TelnyxPortingError: `go_on` said no.
    """
    digest = hashlib.sha256(" ".join(sorted(ids)).encode()).hexdigest()
    begun = memory.get(LIST)
    if begun is not None and force and begun["finished"]:
        memory.clear()
        begun = None
    if begun is None:
        begun = {"ids": digest, "finished": False}
        memory.set(LIST, begun)
    elsewhere = mapped and begun["ids"] != digest
    unseen = Outcome.UNKNOWN if elsewhere else Outcome.NOT_SENT
    outcomes = {event_id: Outcome(memory.get(event_id) or unseen) for event_id in ids}
    sendable = {Outcome.NOT_SENT, Outcome.UNKNOWN} if resend_unknown else {Outcome.NOT_SENT}
    todo = [event_id for event_id, before in outcomes.items() if before in sendable]
    if len(todo) < len(ids):
        log.warning(
            "%d of %d events were sent by an earlier try or run of this task%s and are not sent again (%s).",
            len(ids) - len(todo),
            len(ids),
            ", or perhaps by another map index, whose ids it has now," if elsewhere else "",
            "force=True would" if begun["finished"] else "resend_unknown=True would send those of unknown outcome",
        )
    in_a_row: list[Outcome] = []
    for done, event_id in enumerate(todo, start=1):
        outcome, error = _send(client, event_id, memory, outcomes[event_id], go_on)
        if outcome != Outcome.REFUSED:
            in_a_row = [*in_a_row, outcome] if outcome in in_a_row else [outcome]
        if error is not None and (outcome == Outcome.NOT_SENT or len(in_a_row) == IN_A_ROW):
            raise error
        outcomes[event_id] = _kept(outcomes[event_id], outcome)
        if not done % TOLD_EVERY or done == len(todo):
            log.info("%d of %d done: %s", done, len(todo), dict(Counter(outcomes[each].value for each in todo[:done])))
    memory.set(LIST, begun | {"finished": True})
    return outcomes


def _send(
    client: TelnyxClient, event_id: str, memory: Memory, before: Outcome, go_on: Callable[[], bool]
) -> tuple[Outcome, Exception | None]:
    """Send one id, again only when the request certainly had no effect.

    :return: what the last request came to, and the error that said so.
    """
    for attempt in range(1, TRIES + 1):
        slot = client.reserve_slot()  # the wait for it comes before the intent: killed in it, the id is not sent
        if not go_on():
            raise TelnyxPortingError("stopped from outside; what was sent is written down, a retry goes on there")
        memory.set(event_id, Outcome.UNKNOWN.value)
        error: Exception | None = None
        try:
            client.republish_porting_event(event_id, slot=slot)
        except (TelnyxError, OSError) as failed:
            error = failed
        outcome = _outcome(error)
        memory.set(event_id, _kept(before, outcome).value)
        if outcome != Outcome.NOT_SENT or isinstance(error, REFUSED_SECRETS):
            break
        if attempt < TRIES and not isinstance(error, RateLimitedError):  # after a 429 the client's pace knows better
            time.sleep(2.0**attempt / 4)
    return outcome, error


def _kept(before: Outcome, outcome: Outcome) -> Outcome:
    """What was unknown stays so until Telnyx accepts it: a refusal now says nothing about the request before."""
    return outcome if outcome == Outcome.ACCEPTED or before == Outcome.NOT_SENT else before


def _outcome(error: Exception | None) -> Outcome:
    """Return what came of a request."""
    if error is None:
        return Outcome.ACCEPTED
    state = Republish.PLANNED if isinstance(error, REFUSED_SECRETS) else state_after(error)
    refused = Outcome.NOT_FOUND if isinstance(error, NotFoundError) else Outcome.REFUSED
    return {Republish.PLANNED: Outcome.NOT_SENT, Republish.REFUSED: refused}.get(state, Outcome.UNKNOWN)
