"""Ways to look at what is delivered: webhooks, republishes and the records of both; see looks.py."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.looks import NOON, Eyes

# webhooks


def webhook_ids_of_a_split(eyes: Eyes) -> set[bool]:
    eyes.sandbox.subscribe(eyes.receiver.url)
    (event,) = eyes.sandbox.act(eyes.sandbox.order(numbers=3), "split", numbers=2)
    webhooks = eyes.sent()
    assert len(webhooks) == 2
    return {webhook["data"]["id"] == event["id"] for webhook in webhooks}


def ids_of_a_notification_to_two_channels(eyes: Eyes) -> int:
    eyes.sandbox.switches(webhook_id="unrelated")
    eyes.sandbox.subscribe(eyes.receiver.url, eyes.receiver.url)
    eyes.sandbox.act(eyes.sandbox.order(), "comment")
    webhooks = eyes.sent()
    assert len(webhooks) == 2
    return len({webhook["data"]["id"] for webhook in webhooks})


def shapes_by_type(eyes: Eyes) -> dict[str, str]:
    eyes.sandbox.subscribe(eyes.receiver.url)
    order = eyes.sandbox.order()
    eyes.sandbox.act(order, "messaging", value="activating")
    eyes.sandbox.act(order, "comment")
    eyes.sandbox.act(order, "delete")
    seen = {}
    for webhook in eyes.sent():
        inner = webhook.get("data", webhook)
        assert inner["payload"]
        assert webhook.get("format", "v2") == "v2"
        seen[inner["event_type"].partition(".")[2]] = "enveloped" if "data" in webhook else "raw"
    return seen


def precision_of_webhook_times(eyes: Eyes) -> tuple[str, bool, bool]:
    eyes.sandbox.subscribe(eyes.receiver.url)
    order = eyes.sandbox.order()
    eyes.sandbox.act(order, "status", value="in-process")
    eyes.sandbox.act(order, "comment")
    said = {webhook["data"]["event_type"]: webhook["data"]["payload"] for webhook in eyes.sent()}
    updated = said["porting_order.status_changed"]["updated_at"]
    inserted = said["porting_order.new_comment"]["comment"]["inserted_at"]
    return updated.lstrip("0123456789T:.-"), "." in updated, "." in inserted


def events_and_webhooks_of_a_split(eyes: Eyes) -> tuple[int, int]:
    eyes.sandbox.subscribe(eyes.receiver.url)
    eyes.sandbox.act(eyes.sandbox.order(numbers=5), "split", numbers=3)
    webhooks = eyes.sent()
    assert all("porting_phone_numbers" not in webhook["data"]["payload"] for webhook in webhooks)
    return len(eyes.get("/porting/events")["data"]), len(webhooks)


def urls_called(eyes: Eyes) -> list[str]:
    base = eyes.receiver.url
    eyes.sandbox.subscribe(f"{base}/account")
    order = eyes.sandbox.order(webhook_url=f"{base}/order")
    eyes.sandbox.act(order, "comment")
    return sorted(webhook["meta"]["delivered_to"].rpartition("/")[2] for webhook in eyes.sent())


# republish


def republished_id(eyes: Eyes) -> tuple[bool, bool]:
    eyes.sandbox.subscribe(eyes.receiver.url)
    event = eyes.comment()
    eyes.sandbox.settle()
    eyes.republish(event)
    first, second = (webhook["data"]["id"] for webhook in eyes.sent())
    return first == second, second == event


def republished_occurred_at(eyes: Eyes) -> str:
    (event,) = eyes.insert(NOON)
    eyes.sandbox.subscribe(eyes.receiver.url)
    eyes.republish(event)
    (webhook,) = eyes.sent()
    occurred = datetime.fromisoformat(webhook["data"]["occurred_at"])
    return "then" if occurred == NOON else "now" if abs(datetime.now(UTC) - occurred) < timedelta(seconds=5) else "?"


def attempts_with_republish(eyes: Eyes) -> list[int]:
    eyes.sandbox.delivery_rules(retry_delays=[0.02])
    eyes.receiver.answers = [503, 503, 200]
    eyes.sandbox.subscribe(eyes.receiver.url)
    event = eyes.comment()
    eyes.sandbox.settle()
    eyes.republish(event)
    return [webhook["meta"]["attempt"] for webhook in eyes.sent()]


def records_with_republish(eyes: Eyes) -> list[tuple[list[str], bool]]:
    """The tries of each record, and whether it ends with its newest."""
    attempts_with_republish(eyes)
    return [
        (
            [attempt["status"] for attempt in record["attempts"]],
            record["finished_at"] == record["attempts"][0]["finished_at"],
        )
        for record in eyes.deliveries()
    ]


def republish_to_nobody(eyes: Eyes) -> int:
    return eyes.republish(eyes.comment())


def republish_without_payload(eyes: Eyes) -> tuple[int, str, int]:
    event = eyes.comment(never_completes=True)
    eyes.sandbox.subscribe(eyes.receiver.url)
    status = eyes.republish(event)
    return status, eyes.event(event)["payload_status"], len(eyes.sent())


def republish_to_the_order_only(eyes: Eyes) -> int:
    order = eyes.sandbox.order()
    (event,) = eyes.sandbox.act(order, "comment")
    eyes.sandbox.act(order, "webhook-url", webhook_url=eyes.receiver.url)
    eyes.republish(event["id"])
    return len(eyes.sent())


def updated_at_after_republish(eyes: Eyes) -> str:
    event = eyes.comment()
    before = eyes.event(event)["updated_at"]
    eyes.republish(event)
    return "same" if eyes.event(event)["updated_at"] == before else "later"


# delivery records


def number_of_deliveries(eyes: Eyes) -> int:
    eyes.sandbox.subscribe(eyes.receiver.url)
    eyes.comment()
    assert len(eyes.sent()) == 1
    return len(eyes.deliveries())


def deliveries_while_trying(eyes: Eyes) -> tuple[list[int], list[int]]:
    def tries() -> list[int]:
        return [len(record["attempts"]) for record in eyes.deliveries()]

    eyes.sandbox.delivery_rules(retry_delays=[1.0])
    eyes.receiver.answers = [503]
    eyes.sandbox.subscribe(eyes.receiver.url)
    eyes.comment()
    while not eyes.sandbox.sent():
        time.sleep(0.005)
    during = tries()
    eyes.sandbox.settle()
    return during, tries()


def deliveries_a_while_later(eyes: Eyes) -> int:
    eyes.sandbox.subscribe(eyes.receiver.url)
    eyes.comment()
    eyes.sandbox.settle()
    (started,) = (post["at_us"] / 1_000_000 for post in eyes.sandbox.sent())
    while time.time() < started + 0.9:
        time.sleep(0.02)
    return len(eyes.deliveries())


def _failed(eyes: Eyes) -> Any:
    eyes.sandbox.delivery_rules(retry_delays=[])
    eyes.receiver.answers = [503]
    eyes.sandbox.subscribe(eyes.receiver.url)
    eyes.comment(body="Where is the Invoice?")
    eyes.sandbox.settle()
    (record,) = eyes.deliveries()
    return record


def an_error(eyes: Eyes) -> Any:
    (error,) = _failed(eyes)["attempts"][0]["errors"]
    return sorted(error) if isinstance(error, dict) else error


def delivery_shape(eyes: Eyes) -> tuple[type, str, str]:
    record = _failed(eyes)
    http = record["attempts"][0]["http"]
    (answer,) = set(http) - {"request"}
    return type(http["request"]["headers"][0]), answer, record["webhook"]["event_type"]


def found_by_nested_text(eyes: Eyes) -> int:
    order = _failed(eyes)["webhook"]["payload"]["porting_order_id"]
    return len(eyes.deliveries(**{"filter[webhook][contains]": order}))


def found_by_upper_case(eyes: Eyes) -> int:
    _failed(eyes)
    assert len(eyes.deliveries(**{"filter[webhook][contains]": "Invoice"})) == 1
    return len(eyes.deliveries(**{"filter[webhook][contains]": "INVOICE"}))


def order_of_deliveries(eyes: Eyes) -> list[int]:
    eyes.sandbox.subscribe(eyes.receiver.url)
    made = []
    for _ in range(2):
        made.append(eyes.comment())
        eyes.sandbox.settle()
    return [made.index(record["webhook"]["id"]) for record in eyes.deliveries()]
