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
