"""Plans: what goes in, what stays out, who has to agree, and what is said about it."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.errors import NothingToSendError, PlanError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.arrival import decide
from telnyx_porting.flows.republish.gates import approve, needs_person
from telnyx_porting.flows.republish.plan import close_by, close_plan, make_plan, preview, require_open
from telnyx_porting.flows.republish.selection import Asked, select_ids
from telnyx_porting.flows.subscriptions import Destinations
from telnyx_porting.ledger.states import Consent
from telnyx_porting.ledger.tables import orders, plans, republishes
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT, NOW, OLD, add_delivery, add_event, add_feed, add_watch, event_row

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

CRM, AUDIT = "https://crm.example.com/hook", "https://audit.example.com/hook?token=secret"
NOBODY = Destinations((CRM,), ())
SETTINGS = Settings(consumer_of_record="receiver")
AUTO = Settings(consumer_of_record="receiver", republish_mode="auto", consumer_is_idempotent=True)


@pytest.fixture(autouse=True)
def watched(ledger: Ledger) -> None:
    add_feed(ledger)
    add_watch(ledger)


def missed(ledger: Ledger, **given: Any) -> str:
    return add_event(ledger, **{"delivery": "missed", **given})


def planned(ledger: Ledger, ids: list[str] | None = None, consents: Any = (), **more: Any) -> Any:
    asked = None if ids is None else Asked(ids, consents, **more)
    return make_plan(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW), NOBODY, asked)


def rows(ledger: Ledger, plan_id: str) -> list[Any]:
    with ledger.read() as connection:
        query = republishes.select().where(republishes.c.plan_id == plan_id).order_by(republishes.c.position)
        return list(connection.execute(query))


def test_what_the_watch_selects(ledger: Ledger) -> None:
    order = "0c28cec1-b947-42af-a4b9-36976b4b76b0"
    wanted = missed(ledger)
    overtaken = missed(ledger, order_id=order, created_at=NOW - timedelta(hours=3))
    newest = missed(ledger, order_id=order, created_at=NOW - timedelta(hours=2))
    left_out = [
        overtaken,
        missed(ledger, type="porting_order.deleted"),
        missed(ledger, sends=1, last_sent_at=NOW - timedelta(minutes=29)),
        *(add_event(ledger, delivery=state) for state in ("pending", "arrived", "given_up", "undetermined", None)),
    ]
    plan = planned(ledger)
    held = [row.event_id for row in rows(ledger, plan.id)]
    assert sorted(held) == sorted([wanted, newest])
    assert not set(held) & set(left_out)


@pytest.mark.parametrize("pauses", [(), (30,), (30, 240)], ids=["none", "one", "two"])
@pytest.mark.parametrize("tried", range(4))
def test_the_pause_before_the_next_send_grows_with_what_was_tried(
    ledger: Ledger, pauses: tuple[int, ...], tried: int
) -> None:
    settings = SETTINGS.model_copy(update={"republish_pauses": tuple(timedelta(minutes=each) for each in pauses)})
    pause = timedelta(minutes=pauses[min(max(tried, 1), len(pauses)) - 1] if pauses else 0)
    rested = missed(ledger, sends=1, last_sent_at=NOW - pause)
    resting = missed(ledger, sends=1, last_sent_at=NOW - pause + timedelta(seconds=1))
    with ledger.write() as connection:
        for number, event in ((number, event) for number in range(tried) for event in (rested, resting)):
            connection.execute(
                republishes.insert().values(
                    account=ACCOUNT, plan_id=f"old{number}", event_id=event, position=0, wave=1, state="not_arrived",
                    sent_at=OLD, settled_at=OLD,
                )
            )  # fmt: skip
    assert preview(Account(ledger, ACCOUNT, settings, lambda: NOW), NOBODY).ids == [rested]


def test_a_moment_in_which_subscriptions_cannot_be_read_gives_nothing_up(ledger: Ledger) -> None:
    """Mails are assumed for this plan; how often an event may be sent stays what was last known."""
    tried = missed(ledger, sends=1, last_sent_at=NOW - timedelta(hours=5))
    account = Account(ledger, ACCOUNT, SETTINGS, lambda: NOW)
    assert preview(account, NOBODY).ids == [tried]
    assert preview(account, Destinations()).ids == [tried]
    assert make_plan(account, Destinations()).expected_mails is None
    decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert event_row(ledger, tried).delivery == "missed"


def test_mails_that_were_never_readable_are_assumed(ledger: Ledger) -> None:
    tried = missed(ledger, sends=1, last_sent_at=NOW - timedelta(hours=5))
    with suppress(NothingToSendError):
        preview(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW), Destinations())
    decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert event_row(ledger, tried).delivery == "given_up"


def test_one_open_plan_whose_list_never_changes(ledger: Ledger) -> None:
    missed(ledger)
    first = planned(ledger)
    missed(ledger)
    again = planned(ledger)
    assert (again.id, again.hash, again.size) == (first.id, first.hash, 1)
    with pytest.raises(PlanError, match="still open"):
        planned(ledger, [missed(ledger)])


def test_the_hash_binds_what_is_approved(ledger: Ledger) -> None:
    missed(ledger)
    plan = planned(ledger)
    with pytest.raises(PlanError, match="nothing was approved"):
        approve(Account(ledger, ACCOUNT, clock=lambda: NOW), plan.id, "0" * 64, "ann")
    with pytest.raises(PlanError, match="nothing was approved"):
        approve(Account(ledger, ACCOUNT, clock=lambda: plan.expires_at), plan.id, plan.hash, "ann")
    approve(Account(ledger, ACCOUNT, clock=lambda: NOW), plan.id, plan.hash, "ann")
    approve(Account(ledger, ACCOUNT, clock=lambda: NOW), plan.id, plan.hash, "bob")
    assert require_open(Account(ledger, ACCOUNT, clock=lambda: NOW), plan.id).approved_by == "ann"


def test_an_expired_plan_gives_way_to_a_new_one(ledger: Ledger) -> None:
    missed(ledger)
    old = planned(ledger)
    later = make_plan(Account(ledger, ACCOUNT, SETTINGS, lambda: old.expires_at), NOBODY)
    assert later.id != old.id
    assert [row.state for row in rows(ledger, old.id)] == ["dropped"]
    with pytest.raises(PlanError, match=r"closed \(expired\)"):
        require_open(Account(ledger, ACCOUNT, clock=lambda: NOW), old.id)


def test_what_a_person_rejected_is_not_asked_again_for_a_day(ledger: Ledger) -> None:
    missed(ledger)
    plan = planned(ledger)
    with ledger.write() as connection:
        close_plan(connection, ACCOUNT, plan.id, NOW, "ann", "rejected by ann")
    with pytest.raises(NothingToSendError):
        planned(ledger)
    assert make_plan(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW + timedelta(hours=25)), NOBODY).size == 1


def test_what_nobody_answered_is_asked_again(ledger: Ledger) -> None:
    missed(ledger)
    plan = planned(ledger)
    with ledger.write() as connection:
        close_plan(connection, ACCOUNT, plan.id, NOW, "nobody", "nobody answered")
    assert planned(ledger).id != plan.id


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("arrived", {"delivery": "arrived", "arrived_at": NOW}),
        ("pending", {"delivery": "pending"}),
        ("pending", {"delivery": None}),
        ("given_up", {"delivery": "given_up"}),
        ("undetermined", {"delivery": "undetermined"}),
        ("email_only", {"delivery": "not_expected", "has_webhook": False}),
        ("deleted", {"delivery": "missed", "type": "porting_order.deleted"}),
    ],
)
def test_each_kind_a_person_names_has_its_own_tick(ledger: Ledger, kind: str, given: dict[str, Any]) -> None:
    event = add_event(ledger, **given)
    with pytest.raises(PlanError, match=f"consent '{kind}'"):
        planned(ledger, [event], [name for name in Consent if name != kind])
    assert planned(ledger, [event], [kind]).size == 1


def test_named_events_that_cannot_be_sent(ledger: Ledger) -> None:
    with pytest.raises(PlanError, match="not in the ledger"):
        planned(ledger, ["182bd5e5-6e1a-4fe4-a799-aa6d9a6ab200"])
    with pytest.raises(PlanError, match="no payload yet"):
        planned(ledger, [add_event(ledger, payload_status="created")], Consent)
    with pytest.raises(PlanError, match="unknown, expected some of"):
        planned(ledger, [missed(ledger)], ["all"])
    with pytest.raises(PlanError, match="by event type together with a time range"):
        select_ids(Account(ledger, ACCOUNT), event_type="porting_order.split")


def test_a_dry_run_says_all_and_stores_nothing(ledger: Ledger) -> None:
    missed(ledger)
    told = preview(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW), NOBODY)
    assert told.words.startswith("1 event, 1 order, oldest 60 min.")
    with ledger.read() as connection:
        assert connection.execute(republishes.select()).all() == connection.execute(plans.select()).all() == []
    plan = planned(ledger)
    assert (plan.words, plan.size) == (told.words, len(told.ids)), "what was shown is what is made"
    assert preview(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW), NOBODY, Asked([missed(ledger)])).left_out == {}


def test_the_canary_is_clear_and_untried(ledger: Ledger) -> None:
    """The oldest is a split, the next was tried before: both are bad canaries."""
    missed(ledger, type="porting_order.split", created_at=NOW - timedelta(hours=9))
    tried = missed(ledger, created_at=NOW - timedelta(hours=8), sends=1, last_sent_at=NOW - timedelta(hours=7))
    with ledger.write() as connection:
        connection.execute(
            republishes.insert().values(
                account=ACCOUNT, plan_id="old", event_id=tried, position=0, wave=1, state="not_arrived",
                sent_at=NOW - timedelta(hours=7), settled_at=NOW - timedelta(hours=6),
            )
        )  # fmt: skip
    fresh = missed(ledger)
    first, *rest = rows(ledger, planned(ledger).id)
    assert (first.event_id, first.wave) == (fresh, 1)
    assert {row.wave for row in rest} == {2}


def test_the_words_name_who_gets_it_twice_and_no_secret(ledger: Ledger) -> None:
    add_feed(ledger, "deliveries", known={})
    for _ in range(3):
        event = missed(ledger)
        add_delivery(ledger, source="deliveries", destination=AUDIT, event_id=event, matched="id")
        add_delivery(ledger, source="deliveries", destination=CRM, event_id=event, matched="id", ok=False)
    owned = missed(ledger, order_id="8a119b9e-16bc-4732-8f7b-7676d015b0dc")
    add_delivery(ledger, source="deliveries", destination=AUDIT, event_id=owned, matched="id")
    with ledger.write() as connection:
        connection.execute(
            orders.insert().values(
                account=ACCOUNT, id="8a119b9e-16bc-4732-8f7b-7676d015b0dc", webhook_url="https://own.example.net/x"
            )
        )
    mails = Destinations((AUDIT, CRM), ("a@example.com", "b@example.com"))
    plan = make_plan(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW), mails)
    assert plan.words == (
        "4 events, 4 orders, oldest 60 min. Goes to: audit.example.com/hook (will get it twice),"
        " crm.example.com/hook (missed it), own.example.net/x (own URL of an order), 2 mail addresses (8 mails)."
    )
    assert plan.expected_mails == 8


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"republish_mode": "approve"}, "republish_mode is approve"),
        ({"consumer_is_idempotent": False}, "consumer_is_idempotent"),
        ({"auto_approve_max": 1}, "more than auto_approve_max"),
        ({"republish_daily_cap": 1}, "republish_daily_cap"),
        ({"republish_max_age": timedelta(minutes=30)}, "older than republish_max_age"),
    ],
)
def test_mode_and_caps(ledger: Ledger, changes: dict[str, Any], why: str | None) -> None:
    missed(ledger)
    missed(ledger)
    told = needs_person(Account(ledger, ACCOUNT, AUTO.model_copy(update=changes), lambda: NOW), planned(ledger))
    assert told is None if why is None else why in (told or "")


def test_mails_and_consents_need_a_person(ledger: Ledger) -> None:
    event, account = missed(ledger), Account(ledger, ACCOUNT, AUTO, lambda: NOW)
    for destinations, asked, why in (
        (Destinations(), None, "unknown number of mails"),
        (Destinations((CRM,), ("a@example.com",)), None, "1 mails"),
        (NOBODY, Asked([event], ["arrived"]), "by itself"),
    ):
        plan = make_plan(account, destinations, asked)
        assert why in (needs_person(account, plan) or "")
        assert close_by(account, plan.id, "ann")


CONTENTS: dict[str, dict[str, Any]] = {  # what a selection may hold, by why it is left out
    "no_payload": {"payload_status": "created", "delivery": None},
    "arrived": {"delivery": "arrived", "arrived_at": NOW},
    "pending": {"delivery": "pending"},
    "email_only": {"delivery": "not_expected", "has_webhook": False},
    "given_up": {"delivery": "given_up"},
    "deleted": {"type": "porting_order.deleted", "delivery": "missed"},
    "undetermined": {"delivery": "undetermined"},
}


@pytest.mark.parametrize("kinds", [[kind] for kind in CONTENTS] + [list(CONTENTS)], ids="+".join)
@pytest.mark.parametrize("agreed", [(), ("arrived",), tuple(Consent)], ids=lambda names: "+".join(names) or "none")
def test_what_cannot_go_is_left_out_and_counted(ledger: Ledger, kinds: list[str], agreed: tuple[str, ...]) -> None:
    """For every content and consent: what can go goes, the rest is counted by its reason, nothing is lost."""
    wanted = missed(ledger)
    ids = [wanted, *(add_event(ledger, **CONTENTS[kind]) for kind in kinds)]
    plan = planned(ledger, ids, agreed, leave_out=True)
    dropped = {kind: 1 for kind in kinds if kind not in agreed}
    assert plan.left_out == dropped
    assert (plan.size, len(rows(ledger, plan.id))) == (len(ids) - len(dropped),) * 2
    assert wanted in {row.event_id for row in rows(ledger, plan.id)}
    assert ("Left out: " in plan.words) == bool(dropped)
    assert require_open(Account(ledger, ACCOUNT, clock=lambda: NOW), plan.id).left_out == dropped


def test_a_selection_of_which_nothing_can_go_says_why(ledger: Ledger) -> None:
    ids = [add_event(ledger, **given) for given in CONTENTS.values()]
    with pytest.raises(NothingToSendError, match="1 without a payload yet, 1 arrived already, ") as caught:
        planned(ledger, ids, leave_out=True)
    assert caught.value.left_out == dict.fromkeys(CONTENTS, 1)
    with ledger.read() as connection:
        assert connection.execute(republishes.select()).all() == []


def test_an_event_that_lacks_several_consents_is_counted_once(ledger: Ledger) -> None:
    order = "0c28cec1-b947-42af-a4b9-36976b4b76b0"
    overtaken = add_event(ledger, order_id=order, created_at=NOW - timedelta(hours=3), delivery="given_up")
    newest = missed(ledger, order_id=order, created_at=NOW - timedelta(hours=2))
    plan = planned(ledger, [overtaken, newest], leave_out=True)
    assert (plan.size, plan.left_out) == (1, {"given_up": 1})


def test_a_type_is_selected_only_where_the_ledger_is_complete(ledger: Ledger) -> None:
    event = missed(ledger)
    kind = "porting_order.status_changed"
    assert select_ids(Account(ledger, ACCOUNT), event_type=kind, since=OLD, until=NOW + timedelta(days=1)) == [event]
    with pytest.raises(PlanError, match="does not hold .* let porting_backfill read it first"):
        select_ids(Account(ledger, ACCOUNT), event_type=kind, since=OLD - timedelta(seconds=1), until=NOW)
