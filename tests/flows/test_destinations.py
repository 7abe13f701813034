"""Which destination is the consumer of record: a URL and what is below it, nothing beside it, on both databases."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import literal, select

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.bodies import body, mail
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.deliveries.arrival import decide
from telnyx_porting.flows.deliveries.consumer import find_record
from telnyx_porting.flows.deliveries.matching import match
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.flows.desk.status import status
from telnyx_porting.flows.findings.kind import Look
from telnyx_porting.flows.findings.reconcile import reconcile, see
from telnyx_porting.flows.republish.gates import approve
from telnyx_porting.flows.republish.plan import make_plan
from telnyx_porting.flows.republish.selection import Asked
from telnyx_porting.flows.republish.send import NotClaimed, Sender, sendable
from telnyx_porting.flows.republish.summary import decides
from telnyx_porting.flows.subscriptions import Destinations, below, ends_with, is_below
from telnyx_porting.ledger.states import Consent
from telnyx_porting.ledger.tables import orders, republishes
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT, NOW, add_delivery, add_event, add_feed, add_watch, event_row
from tests.support.watched import quick

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

HOOK = "https://crm.example/hook"
CRM = Settings(consumer_of_record=f"deliveries:{HOOK}")
TABLE = [
    (HOOK, HOOK, True),
    (f"{HOOK}/", HOOK, True),
    (f"{HOOK}/a", HOOK, True),
    (f"{HOOK}?key=1", HOOK, True),
    (f"{HOOK}-audit", HOOK, False),
    (f"{HOOK}s", HOOK, False),
    (f"{HOOK}.old", HOOK, False),
    ("https://crm.example/Hook", HOOK, False),
    ("https://crm.example", HOOK, False),
    (f"{HOOK}/a", f"{HOOK}/", True),
    (HOOK, f"{HOOK}/", False),
    ("https://crm.example.org/hook", "https://crm.example", False),
    (HOOK, "https://crm.example", True),
    ("https://crm.example/aXb", "https://crm.example/a_b", False),
    ("https://crm.example/aXb/c", "https://crm.example/a_b", False),
    ("https://crm.example/a%20b", "https://crm.example/a%", False),
    ("https://crm.example/a\\b", "https://crm.example/a", False),
]


def in_sql(ledger: Ledger, condition: Any) -> bool:
    with ledger.read() as connection:
        return bool(connection.execute(select(literal(1)).where(condition)).first())


@pytest.mark.parametrize(("url", "base", "expected"), TABLE)
def test_what_is_below(ledger: Ledger, url: str, base: str, expected: bool) -> None:
    assert is_below(url, base) is expected
    assert in_sql(ledger, below(literal(url), base)) is expected


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(base=st.text("aA_%\\/?é", min_size=1, max_size=4), more=st.text("aA_%\\/?é", max_size=3))
@example(base="_", more="")
def test_both_databases_and_python_agree(ledger: Ledger, base: str, more: str) -> None:
    """To the letter: no wildcard, no other case, and only at a border of the path."""
    for url in (base + more, more + base, base.swapcase() + more, "x" + base):
        begins = url[: len(base)] == base
        border = base[-1] == "/" or len(url) == len(base) or url[len(base)] in "/?"
        assert is_below(url, base) == (begins and border), (url, base)
        assert in_sql(ledger, below(literal(url), base)) == (begins and border), (url, base)
        assert in_sql(ledger, ends_with(literal(url), literal(base))) == (url[-len(base) :] == base), (url, base)


@pytest.fixture
def watched(ledger: Ledger) -> None:
    """Deliveries are proved, and go to several places."""
    add_watch(ledger)
    known = {url: NOW.isoformat() for url, _, _ in TABLE}
    add_feed(ledger, "deliveries", known=known)
    for _ in range(3):
        add_event(ledger, delivery="arrived", arrived_at=NOW)


@pytest.mark.usefixtures("watched")
def test_another_destination_of_the_same_beginning_decides_nothing(ledger: Ledger) -> None:
    """Everything that asks who decides means the same destinations."""
    events = {}
    for url in {url for url, base, _ in TABLE if base == HOOK}:
        events[url] = add_event(ledger)
        add_delivery(ledger, source="deliveries", webhook_id=events[url], destination=url)
        add_delivery(ledger, source="deliveries", webhook_id=events[url], destination=HOOK, ok=False)
    match(Account(ledger, ACCOUNT, CRM))
    decide(Account(ledger, ACCOUNT, CRM, lambda: NOW))
    with ledger.read() as connection:
        record = find_record(connection, ACCOUNT, CRM, NOW)
        assert record is not None
        wrong = [
            url
            for url, base, expected in TABLE
            if base == HOOK
            and {
                event_row(ledger, events[url]).delivery == "arrived",
                url in record.urls,
                decides(connection, ACCOUNT, record, url),
            }
            != {expected}
        ]
    assert wrong == []


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize(("beside", "told"), [(f"{HOOK}-audit", False), (f"{HOOK}/a", True)])
def test_who_else_fails_does_not_make_the_consumer_fail(ledger: Ledger, beside: str, told: bool) -> None:
    for _ in range(6):
        add_delivery(ledger, source="deliveries", ok=False, destination=beside, signed_at=NOW - timedelta(minutes=5))
    with ledger.read() as connection:
        found = see(Look(connection, ACCOUNT, CRM, NOW))
    assert ("health:consumer" in found) == told


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize(("own", "state"), [(f"{HOOK}-audit", "undetermined"), (f"{HOOK}/a", "missed")])
def test_an_orders_own_url_beside_ours_is_another(ledger: Ledger, own: str, state: str) -> None:
    event = add_event(ledger, order_id="o")
    with ledger.write() as connection:
        connection.execute(orders.insert().values(account=ACCOUNT, id="o", webhook_url=own))
    decide(Account(ledger, ACCOUNT, CRM, lambda: NOW))
    assert event_row(ledger, event).delivery == state


@pytest.mark.usefixtures("watched")
def test_an_account_of_a_similar_name_is_another(ledger: Ledger) -> None:
    """The account's name holds a `_`, which means anything in LIKE."""
    add_feed(ledger)
    events = {}
    for account, state in ((ACCOUNT.replace("_", "-"), "undetermined"), (ACCOUNT, "missed")):
        events[add_event(ledger, order_id=account)] = state
        with ledger.write() as connection:
            url = f"https://here.example/webhooks/telnyx/{account}"
            connection.execute(orders.insert().values(account=ACCOUNT, id=account, webhook_url=url))
    decide(Account(ledger, ACCOUNT, Settings(consumer_of_record="receiver"), lambda: NOW))
    assert {event: event_row(ledger, event).delivery for event in events} == events


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize(
    ("given", "waits"),
    [
        ({"destination": HOOK}, True),
        ({"destination": f"{HOOK}-audit"}, False),
        ({"destination": HOOK, "ok": False}, False),
        ({"source": "receiver"}, False),
        ({"source": "table:audit", "destination": HOOK}, False),
    ],
)
def test_a_send_waits_for_what_the_consumer_of_record_got_unread(
    ledger: Ledger, given: dict[str, Any], waits: bool
) -> None:
    """What others got, and nobody has looked at yet, says nothing about the one that decides."""
    event = add_event(ledger, delivery="missed")
    account = Account(ledger, ACCOUNT, CRM, lambda: NOW)
    plan = make_plan(account, Destinations(), Asked([event]))
    approve(account, plan.id, plan.hash, "ann")
    add_delivery(ledger, **{"source": "deliveries", "webhook_id": event, **given})
    (row,) = sendable(account, plan.id, 1)
    client: Any = None  # a claim asks nobody
    assert Sender(account, client, timedelta(0)).claim(row, NOW) == (NotClaimed.NOT_NEEDED if waits else None)
    with ledger.read() as connection:
        assert connection.execute(select(republishes.c.state)).scalar() == ("planned" if waits else "sending")


HIDING = (f"{HOOK}?token=S3CRET", "https://me:S3CRET@audit.example.com/hook#S3CRET")


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("chosen", ["", "receiver", "deliveries", f"deliveries:{HIDING[0]}", "table:crm"])
def test_no_text_says_more_of_a_url_than_its_host_and_path(ledger: Ledger, chosen: str) -> None:
    channels = ("a:json", "b:slack", "c:pagerduty", "d:alertmanager", "mail")
    own = quick(consumer_of_record=chosen, alert_channels=channels, mail_to=("a@example.com",))
    account = Account(ledger, ACCOUNT, own, lambda: NOW)
    add_feed(ledger, "deliveries", known=dict.fromkeys(HIDING, NOW.isoformat()))
    ids: list[str] = []
    for url in HIDING:
        order, long_ago = str(uuid.uuid4()), NOW - timedelta(hours=5)
        ids.append(event := add_event(ledger, order_id=order, created_at=long_ago))
        with ledger.write() as connection:
            connection.execute(orders.insert().values(account=ACCOUNT, id=order, webhook_url=url))
        for _ in range(6):
            add_delivery(ledger, source="deliveries", ok=False, destination=url, event_id=event, matched="id")
    said = [settle(account).undecided or "", status(ledger, NOW)]
    reconcile(account, enqueue)
    send_due(account, lambda channel, told: said.extend((mail(told).html, str(body(channel, told)))))
    said.append(make_plan(account, Destinations(HIDING, ()), Asked(ids, frozenset(Consent))).words)
    text = "\n".join(said)
    assert "S3CRET" not in text
    assert "crm.example/hook" in said[-1]
    assert ("set consumer_of_record" in said[0]) == (chosen in ("", "deliveries"))
