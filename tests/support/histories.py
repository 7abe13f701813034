"""Random histories of one order, played against a ledger by somebody who knows what reached the receiver."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.flows.account import Account, touch_account
from telnyx_porting.flows.deliveries.receipts import read_receipt, store_receipts
from telnyx_porting.flows.deliveries.settle import charge, settle
from telnyx_porting.flows.events.store import store
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.ledger.tables import deliveries, events, republishes
from telnyx_porting.models.events import parse_event
from telnyx_porting.models.keys import MESSAGING_CHANGED, NEW_COMMENT, SPLIT
from telnyx_porting.settings import Settings
from tests.support.records import URL, Records
from tests.support.rows import NOW, OLD

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

SETTINGS = Settings(consumer_of_record="receiver")
NEAR = 2 * SETTINGS.grace.total_seconds() / 60
START = NOW
MINUTE = timedelta(minutes=1)


def write_time(at: datetime, *, coarse: bool = False) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ" if coarse else "%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class Happening:
    """One event, and what becomes of its first notification. Minutes from the start."""

    at: float
    generated_after: float = 0.05
    listed_after: float = 0.0
    lost: tuple[bool, ...] = (False,)  # per number of a split
    retried_after: float | None = None  # the first try fails, the second comes so much later
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Send:
    """We send an event again, and the provider answers 204."""

    at: float
    event: int
    delivered_after: float | None = None  # None: swallowed


@dataclass
class History:
    """What happens in one order, and how the provider behaves."""

    kind: str
    happenings: list[Happening]
    sends: list[Send] = field(default_factory=list)
    looks: list[tuple[float, bool]] = field(default_factory=list)  # when, and whether events are read before
    own_ids: bool = False  # a webhook's id is its event's
    new_ids: bool = False  # of republished webhooks
    says_now: bool = False  # republished webhooks
    coarse: bool = False  # times in webhooks
    raw: bool = False  # no envelope, so no count of tries
    subscriptions: int = 1  # to the same URL
    shared_ids: bool = True  # of the webhooks to several subscriptions
    records: str = ""  # of tries: "after", or "while" they are made; or none can be read
    appended: bool = False  # a republish's tries to the first notification's record
    decides: str = "receiver"  # or "deliveries": those records
    heard: bool = True  # other notifications of the account came before, as often as there are subscriptions

    @property
    def span(self) -> float:
        return max([h.at + h.generated_after for h in self.happenings] + [s.at for s in self.sends], default=0) + 90


class World:
    """Plays a history against a ledger, and knows the truth."""

    def __init__(self, ledger: Ledger, history: History) -> None:
        self.ledger, self.history = ledger, history
        self.account, self.order, self.target = (str(uuid.uuid4()) for _ in range(3))
        self.reached: dict[str, set[int]] = {h.id: set() for h in history.happenings}
        self.delivered: dict[str, set[int]] = {}  # by plan: what its republish brought
        self.posts: list[tuple[float, Any]] = []
        self.wrong: list[str] = []
        self.comment = str(uuid.uuid4())
        self.settings = Settings(consumer_of_record=history.decides)
        self.records = Records(ledger, self.account, START, while_tried=history.records == "while")
        with ledger.write() as connection:
            touch_account(ledger, connection, self.account, watch_from=OLD)
            touch_feed(ledger, connection, self.account, "events", covers_from=OLD, proved_at=OLD)

    # -- the provider ------------------------------------------------------------------------------------------------

    def payload(self, happening: Happening, *, webhook: bool = False) -> dict[str, Any]:
        coarse = webhook and self.history.coarse
        if self.history.kind == MESSAGING_CHANGED:
            return {"id": self.order, "messaging": {"messaging_port_status": "pending"}}
        if self.history.kind == SPLIT:
            numbers = {} if webhook else {"porting_phone_numbers": [{"id": str(n)} for n in range(self.parts)]}
            return {"from": {"id": self.order}, "to": {"id": self.target}, **numbers}
        at = write_time(START + happening.at * MINUTE, coarse=coarse)
        return {"id": self.order, "status": {"value": "submitted", "details": []}, "updated_at": at}

    @property
    def parts(self) -> int:
        return len(self.history.happenings[0].lost)

    def raw_event(self, happening: Happening, now: float) -> dict[str, Any]:
        done = happening.at + happening.generated_after
        at = START + happening.at * MINUTE
        return {
            "id": happening.id,
            "event_type": self.history.kind,
            "porting_order_id": self.order,
            "available_notification_methods": ["email", "webhook"],
            "payload_status": "completed" if done <= now else "created",
            "payload": self.payload(happening) if done <= now else None,
            "created_at": write_time(at + timedelta(milliseconds=40)),
            "updated_at": write_time(at if done > now else START + done * MINUTE),
        }

    def notify(self, index: int, at: float, attempt: int, *, send: Send | None = None, turn: int = 0) -> None:
        """Have the webhooks of an event posted."""
        happening, history = self.history.happenings[index], self.history
        occurred = at if send and history.says_now else happening.at
        for part in range(self.parts):
            for subscription in range(history.subscriptions):
                name = f"{happening.id} {part} {turn if history.new_ids else 0}"
                name += "" if history.shared_ids else f" {subscription}"
                webhook_id = happening.id if history.own_ids and (turn == 0 or not history.new_ids) else name
                data = {
                    "id": webhook_id,
                    "event_type": history.kind,
                    "occurred_at": write_time(START + occurred * MINUTE, coarse=history.coarse),
                    "payload": self.payload(happening, webhook=True),
                    "record_type": "event",
                }
                lost = send is None and happening.lost[part]
                record = f"{happening.id} {part} {subscription} {0 if history.appended else turn}"
                failed = [(at - (happening.retried_after or 0), False)] if lost or attempt > 1 else []
                self.records.add(record, data, *failed, *([] if lost else [(at, True)]))
                if lost:
                    continue
                meta = {"attempt": attempt, "delivered_to": URL, "n": subscription}
                document = data if history.raw else {"data": data, "meta": meta}
                self.posts.append((at, (happening.id, part, f"p{turn}" if send else None, document)))

    # -- the watch ---------------------------------------------------------------------------------------------------

    def read(self, now: float) -> None:
        at = START + now * MINUTE
        seen = [h for h in self.history.happenings if h.at + h.listed_after <= now]
        store(Account(self.ledger, self.account), [parse_event(self.raw_event(h, now)) for h in seen], at)
        with self.ledger.write() as connection:
            touch_feed(self.ledger, connection, self.account, "events", covered_until=at - SETTINGS.settle)
        if self.history.records:
            self.records.pull(now)

    def receive(self, now: float) -> None:
        due = sorted((p for p in self.posts if p[0] <= now), key=lambda p: p[0])
        self.posts = [p for p in self.posts if p[0] > now]
        for moment, (event, part, plan, document) in due:
            at = START + moment * MINUTE
            receipt = read_receipt(self.account, json.dumps(document).encode(), at.replace(microsecond=0), "/", at)
            store_receipts(self.ledger, [self.account], [receipt], {}, at)
            self.reached[event].add(part)
            if plan:
                self.delivered.setdefault(plan, set()).add(part)

    def send(self, number: int, send: Send) -> None:
        at, event = START + send.at * MINUTE, self.history.happenings[send.event].id
        plan = f"p{number}"
        with self.ledger.write() as connection:
            known = connection.execute(events.select().where(events.c.account == self.account, events.c.id == event))
            held = known.one_or_none()
            waits = republishes.select().where(
                republishes.c.account == self.account,
                republishes.c.event_id == event,
                republishes.c.settled_at.is_(None),
            )
            if held is None or held.payload_status != "completed" or connection.execute(waits).first():
                return
            mine = (deliveries.c.account == self.account, deliveries.c.event_id == event, deliveries.c.ok)
            baseline = [row.source_id for row in connection.execute(deliveries.select().where(*mine))]
            row = {
                "account": self.account, "plan_id": plan, "event_id": event, "position": 0, "wave": 1,
                "state": "accepted", "n": held.sends + 1, "baseline": baseline, "sent_at": at, "reply_date": at,
                "due_at": at + SETTINGS.confirm_within, "forced": True,
            }  # fmt: skip
            connection.execute(republishes.insert().values(**row))
            charge(connection, row, at, at)
        if send.delivered_after is not None:
            self.notify(send.event, send.at + send.delivered_after, 1, send=send, turn=number)

    def look(self, now: float) -> None:
        at = START + now * MINUTE
        with self.ledger.write() as connection:
            touch_feed(self.ledger, connection, self.account, "receiver", heartbeat=at, covers_from=OLD, proved_at=OLD)
        settle(Account(self.ledger, self.account, self.settings, lambda: at))
        for event, state in self.states().items():
            if state == "arrived" and len(self.reached[event]) < self.parts:
                self.wrong.append(f"{event} is said to have arrived; {self.reached[event]} did")
        with self.ledger.read() as connection:
            query = republishes.select().where(republishes.c.account == self.account)
            for row in connection.execute(query):
                if row.state == "arrived" and len(self.delivered.get(row.plan_id, ())) < self.parts:
                    self.wrong.append(f"republish {row.plan_id} is credited")

    def states(self) -> dict[str, str]:
        with self.ledger.read() as connection:
            query = events.select().where(events.c.account == self.account, events.c.type == self.history.kind)
            return {row.id: row.delivery for row in connection.execute(query)}

    def hear_of_another(self) -> None:
        """Somebody wrote a comment before."""
        comment = {"porting_order_id": self.order, "comment": {"id": self.comment}}
        at = START - 60 * MINUTE
        event = {"id": str(uuid.uuid4()), "event_type": NEW_COMMENT, "porting_order_id": self.order}
        event |= {"payload_status": "completed", "payload": comment, "created_at": write_time(at)}
        store(Account(self.ledger, self.account), [parse_event(event)], at)
        for n in range(1 if self.history.shared_ids else self.history.subscriptions):
            data = {"id": f"c{n}", "event_type": NEW_COMMENT, "occurred_at": write_time(at), "payload": comment}
            receipt = read_receipt(self.account, json.dumps({"data": data}).encode(), at, "/", at)
            store_receipts(self.ledger, [self.account], [receipt], {}, at)
            self.records.add(f"c{n}", data, (-60, True))
        settle(Account(self.ledger, self.account, self.settings, lambda: at))

    def play(self) -> None:
        """Let everything happen in time; then all is read and looked at until nothing can change any more."""
        history = self.history
        if history.heard:
            self.hear_of_another()
        for index, happening in enumerate(history.happenings):
            first = happening.at + happening.generated_after + 0.01
            again = happening.retried_after
            self.notify(index, first if again is None else first + again, 1 if again is None else 2)
        steps: list[tuple[float, int, Any]] = [(at, 1, read) for at, read in history.looks]
        steps += [(send.at, 0, (number, send)) for number, send in enumerate(history.sends, start=1)]
        for at, what, detail in sorted(steps, key=lambda step: step[:2]):
            self.receive(at)
            if what == 0:
                self.read(at)
                self.send(*detail)
                continue
            if detail:
                self.read(at)
            self.look(at)
        for at in (history.span, history.span + 60, history.span + 200):
            self.receive(at)
            self.read(at)
            self.look(at)

    def rivalled(self, index: int) -> bool:
        """Whether something else may explain what came of an event: by the words of the promise."""
        history, mine = self.history, self.history.happenings[index]
        others = [h for number, h in enumerate(history.happenings) if number != index]
        near = any(abs(h.at - mine.at) <= NEAR + 2 for h in others) or any(
            s.event != index and s.at <= mine.at + mine.generated_after + 120 for s in history.sends
        )
        twice = history.subscriptions > 1 and not history.shared_ids
        single = history.kind == SPLIT and (twice or (self.parts > 1 and (history.own_ids or not history.heard)))
        late = any(s.delivered_after is not None and s.delivered_after > NEAR - 1 for s in history.sends)
        return near or single or late or len([s for s in history.sends if s.event == index]) > 1
