"""A porting desk over the loop: orders change, the alert DAGs look, and the desk counts what it is told."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx

from telnyx_porting.failpoints import VARIABLE
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.bodies import body
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import AlertsResult, send_due
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.flows.orders.sync import read_orders, sync_orders
from tests.scenarios.loop import ACCOUNT, MINUTE, Loop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.alerts.channels import Channel, Message
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings
    from tests.scenarios.clock import Shifted

KNOBS: dict[str, Any] = {
    "alert_channels": ("desk:json",),
    "business_days": "mon-sun",
    "business_hours": "00:00-24:00",
    "digest_at": "off",
    "remind_high_days": 0,
    "remind_critical": "0",
    "resolve_hold": "0",
    "settle": "0",
}
"""People always work and are reminded of nothing, so that each message counted is news."""


def tell(ledger: Ledger, client: TelnyxClient, settings: Settings, clock: Shifted, inbox: str) -> AlertsResult:
    """What a run of porting_exception_alerts does; each message is an HTTP request."""

    def send(channel: Channel, message: Message) -> None:
        httpx.post(inbox, json=body(channel, message), timeout=30.0, verify=False).raise_for_status()

    def again(ids: Sequence[str]) -> None:
        read_orders(Account(ledger, ACCOUNT, clock=lambda: clock.now()), client, ids)

    sync_orders(Account(ledger, ACCOUNT, settings, lambda: clock.now()), client)
    reconcile(Account(ledger, ACCOUNT, settings, lambda: clock.now()), enqueue)
    return send_due(Account(ledger, ACCOUNT, settings, lambda: clock.now()), send, again)


class Desk:
    """The people of one account, whose first look had nothing to say."""

    def __init__(self, loop: Loop, *, met: bool = True) -> None:
        self.loop = loop
        loop.sandbox.control("DELETE", "/inbox")
        if met:
            self.look()

    def look(self, times: int = 1) -> None:
        """Scan, then look and tell."""
        for _ in range(times):
            self.loop.scan()
            tell(self.loop.ledger, self.loop.client, self.loop.settings, self.loop.clock, self.loop.sandbox.inbox_url)

    def later(self, minutes: float) -> None:
        """Let time pass, then look."""
        self.loop.jump(minutes * MINUTE)
        self.look()

    def status(self, order: str, value: str, *codes: str) -> None:
        self.loop.sandbox.act(order, "status", value=value, codes=list(codes), force=True, complete_after=0)

    def workers(self, count: int = 1, failpoint: str = "") -> list[int]:
        """Let processes of their own look and tell, at once; return how each ended."""
        loop = self.loop
        job = {
            "ledger": loop.ledger.url.render_as_string(hide_password=False),
            "clock": str(loop.clock_file),
            "key": loop.sandbox.api_key,
            "base_url": loop.sandbox.base_url,
            "inbox": loop.sandbox.inbox_url,
            "settings": pickle.dumps(loop.settings).hex(),
            "failpoint": failpoint,
            "variable": VARIABLE,
        }
        command = [sys.executable, "-m", "tests.scenarios.teller"]
        started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(count)]
        for one in started:
            assert one.stdout
            one.stdout.readline()  # it is ready
        for one in started:
            assert one.stdin
            one.stdin.write(json.dumps(job).encode())
            one.stdin.close()
        ended = [one.wait(60) for one in started]
        for one in started:
            assert one.stdout
            one.stdout.close()
        return ended

    # -- what the desk was told ----------------------------------------------------------------------------------

    def letters(self) -> list[dict[str, Any]]:
        return [letter["body"] for letter in self.loop.sandbox.inbox()]

    def told(self) -> list[tuple[str, str, int]]:
        """Return action, key and occurrence of each finding told, in order."""
        return [
            (letter["action"], entry["key"], entry["occurrence"])
            for letter in self.letters()
            for entry in letter["findings"]
        ]

    def in_words(self) -> str:
        """Say how many messages told how much, by what they said, and whether anything was told twice."""
        messages = Counter(letter["action"] for letter in self.letters())
        entries = self.told()
        found = Counter(action for action, _, _ in entries)
        text = [
            f"{found[name]} {name} in {messages[name]}" for name in ("firing", "changed", "resolved") if found[name]
        ]
        twice = len(entries) - len(set(entries))
        return ", ".join(text or ["nothing"]) + (f"; {twice} told again" if twice else "")
