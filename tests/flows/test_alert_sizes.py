"""No message is larger than its channel takes, and what a channel refuses goes out smaller: nobody is told twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_porting.escaping import identity
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.bodies import LARGEST, body, mail
from telnyx_porting.flows.alerts.channels import Channel, ChannelError, Message
from telnyx_porting.flows.findings.health import health
from tests.support.watched import Watched, order_id, quick

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

MANY = 1_500
CONSOLE = "https://air.example.com"


class Proxied(Watched):
    """Its channel answers 413 to what is larger than it takes, or refuses some findings whatever their size."""

    takes: int = 1_048_576
    refuses: frozenset[str] = frozenset()
    sizes: list[int]
    bodies: list[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sizes, self.bodies = [], []

    def send(self, channel: Channel, message: Message) -> None:
        letter = mail(message)
        said = letter.text + letter.html if channel.kind == "mail" else json.dumps(body(channel, message))
        self.bodies.append(said)
        if len(said.encode()) > self.takes:
            raise ChannelError("answered 413", too_large=True)
        if any(entry["key"] in self.refuses and entry["detail"] for entry in message.findings):
            raise ChannelError("answered 400", unfit=True)
        self.sizes.append(len(said.encode()))
        super().send(channel, message)


def fired(watched: Watched) -> list[str]:
    return [key for action, key, _ in watched.told() if action == "firing"]


@pytest.mark.parametrize("kind", ["json", "slack", "pagerduty", "alertmanager", "mail"])
def test_first_look_of_very_many_is_bounded_on_every_channel(ledger: Ledger, kind: str) -> None:
    name = kind if kind == "mail" else f"c:{kind}"
    watched = Proxied(ledger, quick(alert_channels=(name,), mail_to=("desk@example.net",), console_url=CONSOLE))
    watched.statuses(range(MANY), "exception")
    watched.cycle()
    assert max(watched.sizes) <= LARGEST
    assert sorted(fired(watched)) == sorted(f"exception:{order_id(number)}" for number in range(MANY))


@pytest.mark.parametrize("takes", [200_000, 20_000, 3_000, 900])
@pytest.mark.parametrize("kind", ["json", "slack", "alertmanager"])
def test_what_is_too_large_for_a_proxy_is_halved_until_it_fits(ledger: Ledger, kind: str, takes: int) -> None:
    watched = Proxied(ledger, quick(alert_channels=(f"c:{kind}",), console_url=CONSOLE))
    watched.takes = takes
    watched.statuses(range(60), "exception")
    watched.cycle()
    assert sorted(fired(watched)) == sorted(f"exception:{order_id(number)}" for number in range(60))
    assert len(set(watched.bodies)) == len(watched.bodies), "nothing goes out unchanged"


@pytest.mark.parametrize("takes", [LARGEST, 20_000, 3_000, 900])
@pytest.mark.parametrize("kind", ["json", "slack", "mail"])
def test_a_digest_that_is_too_large_goes_out_smaller_at_once(ledger: Ledger, kind: str, takes: int) -> None:
    name = kind if kind == "mail" else f"c:{kind}"
    knobs = {"alert_channels": (name,), "mail_to": ("desk@example.net",), "remind_high_days": 0}
    watched = Proxied(ledger, quick(**knobs, digest_at="08:00"))
    watched.statuses(range(60), "exception")
    watched.cycle()
    watched.sent.clear()
    watched.bodies.clear()
    watched.takes = takes
    watched.later(days=1)
    watched.cycle()
    assert [message.action for _, message in watched.sent] == ["digest"]
    assert len(set(watched.bodies)) == len(watched.bodies), "nothing goes out unchanged"
    assert "60 open" in watched.sent[0][1].text


def test_a_channel_that_takes_nothing_is_not_asked_again_and_again(ledger: Ledger) -> None:
    watched = Proxied(ledger, quick())
    watched.takes = 100
    watched.statuses(range(8), "exception")
    for _ in range(6 * 12):
        watched.cycle()
        watched.later(minutes=5)
    assert fired(watched) == []
    assert max(watched.bodies.count(one) for one in watched.bodies) <= 6, "once an hour"
    watched.takes = 1_048_576
    watched.later(hours=1)
    watched.cycle()
    assert set(fired(watched)) >= {f"exception:{order_id(number)}" for number in range(8)}


def test_one_finding_that_a_channel_refuses_keeps_no_other_from_being_told(ledger: Ledger) -> None:
    """It is told too, in the end: that there is something, without what was refused."""
    watched = Proxied(ledger, quick())
    watched.cycle()
    watched.refuses = frozenset({f"exception:{order_id(3)}"})
    watched.statuses(range(10), "exception")
    for _ in range(30):
        watched.cycle()
        watched.later(minutes=4)
    told = {entry["key"]: entry for _, message in watched.sent for entry in message.findings}
    assert set(told) >= {f"exception:{order_id(number)}" for number in range(10)}
    assert told[f"exception:{order_id(3)}"]["detail"] == {}
    assert order_id(3) in told[f"exception:{order_id(3)}"]["text"]


NAMES = st.text(st.sampled_from("ab\x00\ud800\ufffd~"), min_size=0, max_size=6).flatmap(
    lambda end: st.sampled_from([0, 200, 250, 1_000]).map(lambda length: "x" * length + end)
)


@given(NAMES, NAMES)
def test_two_names_never_become_one(one: str, other: str) -> None:
    assert (identity(one) == identity(other)) == (one == other)
    assert len(identity(one)) <= 255
    identity(one).encode()


@pytest.mark.parametrize("kind", ["json", "pagerduty", "alertmanager"])
def test_the_end_of_one_thing_does_not_end_another_with_a_long_name(ledger: Ledger, kind: str) -> None:
    watched = Watched(ledger, quick(alert_channels=(f"c:{kind}",)))
    watched.cycle()
    account = Account(ledger, watched.account, clock=lambda: watched.now)
    for end in "ab":
        health(account, f"dag:{'d' * 250}.task_{end}", "it failed")
    watched.cycle()
    named = [_identities(Channel("c", "c", kind), message) for _, message in watched.sent]
    flat = [one for names in named for one in names]
    assert len(flat) == 2
    assert len(set(flat)) == 2


def _identities(channel: Channel, message: Message) -> list[Any]:
    said = body(channel, message)
    if channel.kind == "pagerduty":
        return [said["dedup_key"]]
    if channel.kind == "alertmanager":
        return [one["labels"]["key"] for one in said]
    return [entry["dedup_key"] for entry in said["findings"]]
