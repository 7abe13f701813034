"""What is written in several transactions ends the same, whoever comes between two of them, or if nobody goes on."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from telnyx_porting.errors import NothingToSendError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts import dispatch, outbox
from telnyx_porting.flows.findings import reconcile
from telnyx_porting.flows.findings.triage import write_note
from telnyx_porting.flows.republish.plan import close_by, make_plan
from telnyx_porting.flows.subscriptions import Destinations
from telnyx_porting.ledger.tables import events, findings
from telnyx_porting.settings import Settings
from tests.support.pace import MONDAY, desk, hours, met
from tests.support.rows import NOW, add_event, add_feed, add_watch
from tests.support.watched import ACCOUNT, Watched, order_id, quick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telnyx_porting.ledger.engine import Ledger


class Killed(BaseException):
    """The process ends here."""


def key(order: int) -> str:
    return f"exception:{order_id(order)}"


@contextmanager
def between(ledger: Ledger, number: int, do: Callable[[], object]) -> Iterator[None]:
    """Let something happen after the so-manieth short transaction of a long write."""
    passed = 0

    def breathe() -> None:
        nonlocal passed
        passed += 1
        if passed == number:
            do()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "_BATCH", 1)
        patch.setattr(outbox, "_AT_ONCE", 1)
        patch.setattr(dispatch, "_WRITTEN_AT_ONCE", 1)
        patch.setattr(ledger, "breathe", breathe)
        try:
            yield
        finally:
            assert passed >= number


def killed(watched: Watched) -> None:
    raise Killed


def moved_on(watched: Watched) -> None:
    """Another run sees more than the one it interrupts, and tells it."""
    watched.later(seconds=1)
    watched.status(2, "submitted")
    watched.status(5, "exception")
    watched.cycle()


WHAT: dict[str, Callable[[Watched], object]] = {"killed": killed, "another run": Watched.cycle, "moved on": moved_on}


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("name", WHAT)
def test_everything_is_told_once(ledger: Ledger, name: str, number: int) -> None:
    watched = Watched(ledger)
    watched.cycle()
    for order in (1, 2):
        watched.status(order, "exception")
    watched.cycle()
    watched.later(minutes=1)
    watched.status(1, "submitted")
    for order in (3, 4):
        watched.status(order, "exception")
    with between(ledger, number, lambda: WHAT[name](watched)), suppress(Killed):
        watched.cycle()
    watched.later(minutes=1)
    watched.cycle()
    over, more = ([2], [5]) if name == "moved on" else ([], [])
    firing = [("firing", key(order), 1) for order in [1, 2, 3, 4, *more]]
    assert sorted(watched.told()) == sorted(firing + [("resolved", key(order), 1) for order in [1, *over]])


@pytest.mark.parametrize("number", [1, 2, 3])
def test_who_dies_while_marking_leaves_the_rest_to_be_said_again(ledger: Ledger, number: int) -> None:
    watched = Watched(ledger, quick(alert_channels=("desk:pagerduty",)))
    for order in (1, 2, 3):
        watched.status(order, "exception")
    watched.look()
    with between(ledger, number, lambda: killed(watched)), suppress(Killed):
        watched.send_due()
    watched.later(minutes=6)
    watched.cycle()
    told = [message for _, message in watched.sent]
    assert [len(message.findings) for message in told] == [3, 3 - number][: 4 - number]
    assert len({message.dedup_key for message in told}) == 1
    for order in (1, 2, 3):
        watched.status(order, "submitted")
    watched.cycle()
    ends = [message.dedup_key for _, message in watched.sent if not message.findings]
    assert ends == [told[0].dedup_key]  # of the incident that stood for all of them


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_digest_whose_sender_dies_while_marking_is_the_same_one_again(ledger: Ledger, number: int) -> None:
    watched = met(Watched(ledger, desk(), now=MONDAY))
    for state in ("exception", "ported"):
        for order in (1, 2, 3):
            watched.messaging(order, state)
        watched.look()
        hours(watched, 22)
    watched.sent.clear()
    watched.later(hours=4)
    watched.look()
    with between(ledger, number, lambda: killed(watched)), suppress(Killed):
        watched.send_due()
    for _ in range(3):
        watched.later(minutes=6)
        watched.cycle()
    told = [(message.action, message.dedup_key) for _, message in watched.sent]
    assert told == [("digest", told[0][1])] * (1 if number == 3 else 2)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_another_run_saw_end_is_not_opened_by_an_older_look(ledger: Ledger, number: int) -> None:
    watched = Watched(ledger)
    watched.cycle()
    for order in (1, 2, 3):
        watched.status(order, "exception")

    def over() -> None:
        watched.later(seconds=1)
        for order in (1, 2, 3):
            watched.status(order, "submitted")
        watched.cycle()

    with between(ledger, number, over):
        watched.cycle()
    assert watched.told() == []


@pytest.mark.parametrize("number", [1, 2])
def test_what_a_person_writes_meanwhile_is_kept(ledger: Ledger, number: int) -> None:
    watched = Watched(ledger)
    orders = (1, 2, 3)
    for order in orders:
        watched.status(order, "exception", "LSR_PENDING")
    watched.cycle()
    watched.later(minutes=1)
    for order in orders:
        watched.status(order, "exception", "FOC_REJECTED")

    def note() -> None:
        for order in orders:
            write_note(
                Account(ledger, ACCOUNT, watched.settings, lambda: watched.now), key(order), "ann", "called them"
            )

    with between(ledger, number, note):
        watched.look()
    with ledger.read() as connection:
        kept = connection.execute(select(findings.c.key, findings.c.note, findings.c.revision)).all()
    assert [(row.note, row.revision) for row in kept if row.key.startswith("exception:")] == [("called them", 2)] * 3


def test_a_plan_that_another_process_made_and_sent_meanwhile_is_not_made_again(ledger: Ledger) -> None:
    add_feed(ledger)
    add_watch(ledger)
    add_event(ledger, delivery="missed")
    account = Account(ledger, ACCOUNT, Settings(consumer_of_record="receiver"), lambda: NOW)
    look, done = ledger.read, []

    @contextmanager
    def read() -> Iterator[Any]:
        with look() as connection:
            yield connection
        if not done:
            done.append(True)
            plan = make_plan(account, Destinations())
            with ledger.write() as connection:
                connection.execute(update(events).values(sends=1, last_sent_at=NOW - timedelta(seconds=1)))
            close_by(account, plan.id, "all was sent")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "read", read)
        with pytest.raises(NothingToSendError):
            make_plan(account, Destinations())
