"""Hostile text through everything that shows it: five channels over sockets, logs, findings, approval and report."""

from __future__ import annotations

import contextlib
import email
import email.policy
import io
import json
import logging
import os
import tempfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from unittest import mock

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.desk.status import listing
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.flows.orders.sync import read_orders, sync_orders
from telnyx_porting.flows.republish.report import report
from tests.scenarios.desk import KNOBS
from tests.scenarios.loop import ACCOUNT, MINUTE, Loop
from tests.scenarios.story import Story
from tests.support.mailbox import mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHANNELS = ("c1:json", "c2:slack", "c3:pagerduty", "c4:alertmanager", "mail")
TEMPLATE = "{{ conn.telnyx_default.password }}{{ 7*7 }}"


class Trap:
    """A web server that nobody may visit."""

    def __init__(self) -> None:
        self.visits: list[str] = []
        trap = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                trap.visits.append(self.path)
                self.send_error(404)

            do_POST = do_HEAD = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """Keep every log line of every logger, down to debug."""
    stream, root, disabled = io.StringIO(), logging.getLogger(), logging.root.manager.disable
    handlers, level = root.handlers[:], root.level
    logging.disable(logging.NOTSET)
    root.handlers[:] = [logging.StreamHandler(stream)]
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.disable(disabled)


@contextmanager
def connections(loop: Loop, smtp_port: int) -> Iterator[None]:
    """Airflow connections as people define them, and Airflow itself, at home in a folder of its own."""
    fields: dict[str, dict[str, Any]] = {
        name.partition(":")[0]: {"conn_type": "http", "host": f"{loop.sandbox.inbox_url}/{name.partition(':')[2]}"}
        for name in CHANNELS[:-1]
    }
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "watch@example.net"}
    fields["smtp_default"] = {"conn_type": "smtp", "host": "127.0.0.1", "port": smtp_port, "extra": extra}
    fields[ACCOUNT] = {"conn_type": "telnyx", "password": loop.sandbox.api_key, "host": loop.sandbox.base_url}
    env = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in fields.items()}
    with contextlib.ExitStack() as stack:
        if "AIRFLOW_HOME" not in os.environ:
            env["AIRFLOW_HOME"] = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(mock.patch.dict(os.environ, env))
        yield


def play(loop: Loop) -> str:
    trap = Trap()
    text = (
        f"{TEMPLATE}{{% for x in y %}}<!channel> @here <script src={trap.url}/s></script>![x]({trap.url}/image)"
        f"[click]({trap.url}/link)\r\nBcc: everybody@example.net\x00\u202e {trap.url}/bare"
    )
    with mailbox() as (port, mails), connections(loop, port):
        from telnyx_porting.notifications.deliver import deliver  # only now, for Airflow is at home here

        with logged() as log:
            seen = [listing_and_plan(loop, text, deliver)]
        letters = {letter["path"].rpartition("/")[2]: letter["body"] for letter in loop.sandbox.inbox()}
        seen += [json.dumps(body) for body in letters.values()] + mails + [log.getvalue()]
    trap.close()
    whole = "\n".join(seen)
    faults = [f"{len(letters) + len(mails[:1])} channels"] if len(letters) != 4 or not mails else []
    faults += [f"the key is seen {whole.count(loop.sandbox.api_key)} times"] if loop.sandbox.api_key in whole else []
    faults += [f"{len(trap.visits)} fetches: {trap.visits}"] if trap.visits else []
    faults += [f"a template was rendered in {name}" for name in letters if TEMPLATE not in json.dumps(letters[name])]
    faults += not_inert(letters, mails)
    faults += ["a line of the log begins with foreign text"] if "\nBcc:" in log.getvalue().replace("\r", "\n") else []
    return "; ".join(faults) or "literal and inert in 5 channels, log, list, approval and report; 0 fetches; no key"


def listing_and_plan(loop: Loop, text: str, deliver: Any) -> str:
    """Let an order say all that, and everything be told about it; return what people read outside of channels."""
    loop.begin()
    order = loop.sandbox.order(customer_reference=text)
    loop.sandbox.control("DELETE", "/inbox")
    loop.ear.up = False
    loop.sandbox.act(order, "comment", body=text + "x" * 1_000_000, complete_after=0)
    loop.sandbox.act(order, "status", value="exception", codes=[text], force=True, complete_after=0)
    loop.sandbox.settle()
    loop.jump(10 * MINUTE)
    loop.ear.up = True
    loop.jump(20 * MINUTE)
    loop.look()

    def again(ids: Sequence[str]) -> None:
        read_orders(Account(loop.ledger, ACCOUNT, clock=lambda: loop.clock.now()), loop.client, ids)

    sync_orders(Account(loop.ledger, ACCOUNT, loop.settings, lambda: loop.clock.now()), loop.client)
    reconcile(Account(loop.ledger, ACCOUNT, loop.settings, lambda: loop.clock.now()), enqueue)
    result = send_due(Account(loop.ledger, ACCOUNT, loop.settings, lambda: loop.clock.now()), deliver, again)
    if result.failed:
        raise AssertionError(f"{result.failed} took nothing")
    plan = loop.plan()
    if plan is None:
        raise AssertionError("nothing was missed")
    loop.execute(plan)
    told = report(Account(loop.ledger, ACCOUNT), plan.id)
    return "\n".join(
        [listing(Account(loop.ledger, ACCOUNT, loop.settings, lambda: loop.clock.now())), plan.words, told.markdown]
    )


def not_inert(letters: dict[str, Any], mails: list[str]) -> list[str]:
    """What a channel would act on."""
    faults = []
    slack = letters.get("slack", {}).get("text", "")
    faults += [f"Slack reads {part}" for part in ("<!channel>", "<script", "](http", "@here") if part in slack]
    for body in letters.values():
        said = json.dumps(body)
        faults += [f"{len(said)} characters in one body"] if len(said) > 200_000 else []
    for raw in mails:
        letter = email.message_from_string(raw, policy=email.policy.default)
        texts = {part.get_content_type(): str(part.get_content()) for part in letter.walk() if not part.is_multipart()}
        html = texts["text/html"]
        faults += ["the mail has a Bcc"] if letter["Bcc"] is not None else []
        faults += ["the mail has markup"] if "<script" in html or "<img" in html or "<a " in html else []
        faults += ["the mail's text is not literal"] if any(TEMPLATE not in text for text in texts.values()) else []
    return faults


STORIES = [
    Story(
        "alerts: hostile reference, comment and code",
        play,
        "literal and inert in 5 channels, log, list, approval and report; 0 fetches; no key",
        KNOBS
        | {
            "alert_channels": CHANNELS,
            "alert_details": "full",
            "mail_to": ("desk@example.net",),
            "group_wait": "0",
            "group_interval": "0",
        },
        sample=True,
    )
]
