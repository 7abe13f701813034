"""One real message per kind and channel, written to build/alerts for reading: they are what people get."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.bodies import body, mail
from telnyx_porting.flows.alerts.channels import Channel, Message
from telnyx_porting.flows.findings.health import health
from telnyx_porting.flows.findings.triage import take, write_note
from telnyx_porting.ledger.tables import events
from tests.support.places import ROOT
from tests.support.rejected import MONDAY, exception, met
from tests.support.watched import Watched, order_id, quick, write_time

if TYPE_CHECKING:
    from pathlib import Path

    from telnyx_porting.ledger.engine import Ledger

CHANNELS = {kind: Channel(f"c:{kind}", "c", kind) for kind in ("json", "slack", "pagerduty", "alertmanager", "mail")}
KINDS = {
    "exception",
    "exception-messaging",
    "question",
    "stuck",
    "foc-overdue",
    "foc-risk",
    "foc-changed",
    "foc-activation",
    "overdue",
    "given_up",
    "health",
}


def test_samples_to_read(ledger: Ledger) -> None:
    folder = ROOT / "build" / "alerts"
    folder.mkdir(parents=True, exist_ok=True)
    written = set()
    for message in a_day(ledger):
        whole = message.action == "digest" or len(message.findings) > 1
        if whole:
            written.add(write(folder, "digest" if message.action == "digest" else f"group-{message.action}", message))
        if message.action != "digest":
            for entry in message.findings:
                name = f"{entry['kind']}-{entry['detail'].get('what', '')}".rstrip("-")
                name += "-messaging" if entry["detail"].get("messaging") else ""
                one = replace(message, findings=(entry,), text=entry["text"])
                written.add(write(folder, f"{name}-{message.action}", one))
    written.add(write(folder, "first-look", first_look(ledger)))
    assert {f"{kind}-firing" for kind in KINDS} <= written
    others = {"digest", "group-firing", "first-look", "exception-changed", "exception-resolved", "stuck-reminder"}
    assert others <= written


def a_day(ledger: Ledger) -> list[Message]:
    """Everything that can be wrong, and a day later."""
    watched = met(
        ledger,
        alert_details="full",
        digest_at="08:00",
        alert_channels=("desk:json", "am:alertmanager"),
        console_url="https://air.example.com",
    )
    exception(watched, said="LOA must be signed with a wet signature")
    watched.comment(1, "admin", "Please send the last invoice.", at=MONDAY - timedelta(hours=2))
    watched.status(2, "in-process", at=MONDAY - timedelta(days=4))
    watched.comment(2, "admin", "Which suite number is it?", at=MONDAY - timedelta(days=3))
    watched.event("status_changed", 3, None, MONDAY - timedelta(hours=5))
    watched.reading(4, "foc-date-confirmed", **date(-5))
    watched.status(5, "cancel-pending", at=MONDAY - timedelta(days=5))
    watched.status(8, "submitted", at=MONDAY - timedelta(days=13))
    watched.messaging(6, "exception")
    watched.reading(9, "exception", "PASSCODE_PIN_INVALID", **date(24), customer_reference="south-branch-3")
    watched.reading(10, "foc-date-confirmed", **date(24 * 9, asked=24 * 7))
    watched.reading(11, "activation-in-progress", **date(-1, activation_status="Activate RDY"))
    watched.event("split", 5, {"from": {"id": order_id(5)}, "to": {"id": order_id(9)}, "porting_phone_numbers": []})
    health(
        Account(ledger, watched.account, clock=lambda: MONDAY),
        "key_refused",
        "Telnyx refuses the key of this connection",
        "critical",
    )
    given_up = watched.status(7, "submitted")
    with ledger.write() as connection:
        connection.execute(update(events).where(events.c.id == given_up).values(delivery="given_up", sends=3))
    watched.cycle()
    take(Account(ledger, watched.account), f"exception:{order_id(9)}", "bob", "ann")
    write_note(Account(ledger, watched.account), f"exception:{order_id(9)}", "bob", "the customer looks for the PIN")
    watched.later(minutes=30)
    watched.status(9, "exception", "PASSCODE_PIN_INVALID", "POSTAL_CODE_MISMATCH")
    watched.cycle()
    watched.now = MONDAY + timedelta(hours=24)
    watched.status(1, "submitted")
    watched.cycle()
    return [message for _, message in watched.sent]


def date(hours: float, asked: float | None = None, **more: Any) -> dict[str, Any]:
    asked = hours if asked is None else asked
    times = {
        "foc_datetime_actual": write_time(MONDAY + timedelta(hours=hours)),
        "foc_datetime_requested": write_time(MONDAY + timedelta(hours=asked)),
    }
    return {"activation_settings": times | more}


def first_look(ledger: Ledger) -> Message:
    watched = Watched(ledger, quick(console_url="https://air.example.com"), now=MONDAY, account="another_account")
    for order in range(60):
        watched.status(order, "exception", "OTHER", at=MONDAY - timedelta(days=1))
    watched.cycle()
    ((_, message),) = watched.sent
    return message


def write(folder: Path, name: str, message: Message) -> str:
    for kind, channel in CHANNELS.items():
        if kind == "mail":
            letter = mail(message)
            said = f"Subject: {letter.subject}\n\n{letter.text}\n\n{letter.html}\n"
        elif message.action == "digest" and channel.is_machine:
            continue
        else:
            said = json.dumps(body(channel, message, "ROUTING-KEY"), indent=2) + "\n"
        (folder / f"{name}.{kind}.txt").write_text(said)
    return name
