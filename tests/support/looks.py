"""Ways to look at the wire, one for each switch; each gives something small that can be compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from include.sandbox.testing import RunningSandbox
    from tests.support.webhook_receiver import Receiver

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Eyes:
    sandbox: RunningSandbox
    api: httpx.Client
    receiver: Receiver

    def get(self, path: str, **params: Any) -> Any:
        """Read JSON that has to be there."""
        response = self.api.get(path, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    def event(self, event_id: str) -> Any:
        return self.get(f"/porting/events/{event_id}")["data"]

    def insert(self, *moments: datetime) -> list[str]:
        rows = [{"created_at": moment.isoformat()} for moment in moments]
        return [event["id"] for event in self.sandbox.insert(*rows)]

    def comment(self, **fields: Any) -> str:
        order = self.sandbox.order()
        return self.sandbox.act(order, "comment", **fields)[0]["id"]

    def republish(self, event_id: str) -> int:
        status = self.api.post(f"/porting/events/{event_id}/republish").status_code
        self.sandbox.settle()
        return status

    def sent(self) -> list[Any]:
        """Wait until nothing is on its way and give the webhooks received."""
        self.sandbox.settle()
        return [post.document for post in self.receiver.received]

    def deliveries(self, **params: Any) -> list[Any]:
        return self.get("/webhook_deliveries", **params)["data"]


# the event list


def order_of_three(eyes: Eyes) -> list[int]:
    made = eyes.insert(*(NOON + timedelta(hours=hour) for hour in range(3)))
    pages = [eyes.get("/porting/events", **{"page[size]": 2, "page[number]": n})["data"] for n in (1, 2)]
    return [made.index(event["id"]) for page in pages for event in page]


def orders_of_ties(eyes: Eyes) -> str:
    made = eyes.insert(*[NOON] * 6)
    reads = [[event["id"] for event in eyes.get("/porting/events")["data"]] for _ in range(6)]
    assert all(sorted(read) == sorted(made) for read in reads)
    return "always the same" if all(read == made for read in reads) else "not the same"


def bounds(eyes: Eyes) -> list[int]:
    steps = (0.0, 0.3, 0.5, 1.2, 1.4, 2.0)
    made = eyes.insert(*(NOON + timedelta(seconds=step) for step in steps))
    found = eyes.get(
        "/porting/events",
        **{
            "filter[created_at][gte]": (NOON + timedelta(seconds=steps[1])).isoformat(),
            "filter[created_at][lte]": (NOON + timedelta(seconds=steps[3])).isoformat(),
        },
    )
    return [made.index(event["id"]) for event in found["data"]]


def meta_of_a_list(eyes: Eyes) -> Any:
    meta = eyes.get("/porting/events").get("meta")
    return None if meta is None else sorted(meta)


def totals(eyes: Eyes) -> tuple[int, int, int]:
    eyes.insert(NOON, NOON, NOON)
    first = eyes.get("/porting/events", **{"page[size]": 1})
    last = eyes.get("/porting/events", **{"page[size]": 1, "page[number]": 3})
    return first["meta"]["total_results"], first["meta"]["total_pages"], len(last["data"])


def page_of_300(eyes: Eyes) -> tuple[int, Any]:
    response = eyes.api.get("/porting/events", params={"page[size]": 300})
    return response.status_code, response.json().get("meta", {}).get("page_size")


def page_past_end(eyes: Eyes) -> tuple[int, Any]:
    response = eyes.api.get("/porting/events", params={"page[number]": 2})
    return response.status_code, response.json().get("data")


def two_pages_of_one(eyes: Eyes) -> tuple[list[int], int]:
    made = eyes.insert(NOON, NOON + timedelta(hours=1))
    pages = [eyes.get("/porting/events", **{"page[size]": 1, "page[number]": n}) for n in (1, 2)]
    return [made.index(page["data"][0]["id"]) for page in pages], pages[1]["meta"]["total_results"]


def status_of_a_malformed_id(eyes: Eyes) -> int:
    (status,) = {eyes.api.get(f"/{kind}/xyz").status_code for kind in ("porting/events", "webhook_deliveries")}
    return status


def age_in_days_of_what_is_kept(eyes: Eyes) -> tuple[list[int], int]:
    now = datetime.now(UTC)
    old, _ = eyes.insert(now - timedelta(days=40), now - timedelta(days=1))
    kept = eyes.get("/porting/events")["data"]
    ages = sorted((now - datetime.fromisoformat(event["created_at"])).days for event in kept)
    return ages, eyes.api.get(f"/porting/events/{old}").status_code


# events


def places_of_created_at(eyes: Eyes) -> tuple[bool, bool]:
    (event,) = eyes.sandbox.act(eyes.sandbox.order(), "delete")
    shown = eyes.event(event["id"])
    return "created_at" in shown, "created_at" in shown["payload"]


def what_nobody_published(eyes: Eyes) -> tuple[list[str], list[str], bool]:
    order = eyes.sandbox.order()
    eyes.sandbox.act(order, "status", value="exception", codes=["OTHER"], force=True)
    codes = {one["code"] for one in eyes.get(f"/porting_orders/{order}")["data"]["status"]["details"]}
    eyes.sandbox.act(order, "status", value="ported", force=True)
    types = {event["event_type"] for event in eyes.get("/porting/events")["data"]}
    listed = {one["code"] for one in eyes.get("/porting_orders/exception_types")["data"]}
    return sorted(types - {"porting_order.status_changed"}), sorted(codes - {"OTHER"}), "LOA_ILLEGIBLE" in listed


def payload_over_time(eyes: Eyes) -> list[str]:
    eyes.sandbox.clock(frozen=True, now=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    event = eyes.comment()
    seen = []
    for seconds in (0, 10):
        eyes.sandbox.clock(advance_seconds=seconds)
        shown = eyes.event(event)
        assert (shown["payload"] is None) == (shown["payload_status"] == "created")
        seen.append(shown["payload_status"])
    return seen


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


# orders, limits, errors


def order_filter_forms(eyes: Eyes) -> tuple[int, int]:
    eyes.sandbox.order(entity_name="North Ltd")
    eyes.sandbox.order(entity_name="South Ltd")
    answers = []
    for name in ("filter[end_user][admin][entity_name]", "filter[end_user.admin.entity_name]"):
        response = eyes.api.get("/porting_orders", params={name: "North Ltd"})
        if response.status_code == 200:
            assert len(response.json()["data"]) == 1
        answers.append(response.status_code)
    return answers[0], answers[1]


def _limited(eyes: Eyes) -> list[httpx.Response]:
    eyes.sandbox.rate_limit(7, window_seconds=60)
    responses = [eyes.api.get("/porting/events") for _ in range(8)]
    assert [r.status_code for r in responses] == [200] * 7 + [429]
    return responses


def rate_limit_headers(eyes: Eyes) -> bool:
    responses = _limited(eyes)
    (present,) = {"x-ratelimit-remaining" in response.headers for response in responses}
    if present:
        assert [int(r.headers["x-ratelimit-remaining"]) for r in responses] == [6, 5, 4, 3, 2, 1, 0, 0]
    return present


def rate_limit_reset(eyes: Eyes) -> str:
    reset = int(_limited(eyes)[-1].headers["x-ratelimit-reset"])
    return "seconds" if 50 <= reset <= 60 else "epoch" if 50 <= reset - time.time() <= 61 else "?"


def rate_limit_form(eyes: Eyes) -> str:
    return _limited(eyes)[0].headers["x-ratelimit-limit"]


def retry_after(eyes: Eyes) -> str | None:
    ok, refused = _limited(eyes)[-2:]
    assert "retry-after" not in ok.headers
    return refused.headers.get("retry-after")


def error_body(eyes: Eyes) -> str:
    response = eyes.api.get("/porting/events/00000000-0000-4000-8000-000000000000")
    assert response.status_code == 404
    if not response.content:
        return "no body"
    kind = response.headers["content-type"].partition(";")[0]
    return f"{kind} {response.json()['errors'][0]['code'] if 'json' in kind else response.text.strip()}"


def date_against_ours(eyes: Eyes) -> int:
    answered = parsedate_to_datetime(eyes.api.get("/porting/events").headers["date"])
    eyes.sandbox.subscribe(eyes.receiver.url)
    event = eyes.comment()
    eyes.sandbox.settle()
    (post,) = eyes.receiver.received
    (record,) = eyes.deliveries()
    times = [
        answered,
        datetime.fromtimestamp(int(post.headers["telnyx-timestamp"]), UTC),
        datetime.fromisoformat(record["started_at"]),
        datetime.fromisoformat(eyes.event(event)["created_at"]),
    ]
    (skew,) = {round((moment - datetime.now(UTC)).total_seconds() / 60) * 60 for moment in times}
    return skew
