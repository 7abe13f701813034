"""The verbs: what they ask for on the wire, and what they make of the answers."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from telnyx_porting import client as client_package
from telnyx_porting.client import AsyncTelnyxClient
from telnyx_porting.errors import EnvelopeError, SettingsError
from telnyx_porting.models.records import Subscription
from tests.support import samples
from tests.support.mirror import NOW, StillClock
from tests.support.samples import EVENT, ORDER, USER

MOMENT = datetime(2026, 9, 16, 13, 5, 44, 120551, tzinfo=UTC)


class Desk:
    """Answers each path from a table, and notes the questions."""

    def __init__(self, **answers: list[dict[str, Any]]) -> None:
        self.answers = {"/v2/" + name.replace("__", "/"): rows for name, rows in answers.items()}
        self.asked: list[tuple[str, dict[str, str]]] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path, dict(request.url.params)))
        rows = self.answers.get(request.url.path)
        if rows is None:
            return httpx.Response(404)
        condition = request.url.params.get("filter[notification_event_condition_id][eq]")
        if condition:
            rows = [row for row in rows if row["notification_event_condition_id"] == condition]
        meta = {"page_number": 1, "page_size": 250, "total_pages": 1, "total_results": len(rows)}
        return httpx.Response(200, json={"data": rows, "meta": meta})

    def client(self) -> AsyncTelnyxClient:
        transport = httpx.MockTransport(self._answer)
        return AsyncTelnyxClient("KEY", "https://api.example.test/v2", transport=transport, clock=StillClock())


async def rows(iterator: Any) -> list[Any]:
    return [row async for row in iterator]


def test_the_list_of_names_is_complete_and_sorted() -> None:
    assert client_package.__all__ == sorted(client_package.__all__)
    assert all(hasattr(client_package, name) for name in client_package.__all__)


async def test_filters_of_events_are_spelled_as_published() -> None:
    desk = Desk(porting__events=[])
    async with desk.client() as client:
        plus_two = timezone(timedelta(hours=2))
        await rows(
            client.iter_porting_events(
                MOMENT.astimezone(plus_two), MOMENT + timedelta(days=1), "porting_order.split", ORDER, 50
            )
        )
    assert desk.asked == [
        (
            "/v2/porting/events",
            {
                "filter[type]": "porting_order.split",
                "filter[porting_order_id]": ORDER,
                # A second more on either side, whatever the bounds turn out to mean.
                "filter[created_at][gte]": "2026-09-16T13:05:43Z",
                "filter[created_at][lte]": "2026-09-17T13:05:46Z",
                "page[number]": "1",
                "page[size]": "50",
            },
        )
    ]


async def test_a_count_asks_once_with_the_bounds_as_given() -> None:
    desk = Desk(porting__events=[samples.event()])
    async with desk.client() as client:
        assert await client.count_porting_events(MOMENT) == 1
    assert desk.asked == [
        (
            "/v2/porting/events",
            {"filter[created_at][gte]": "2026-09-16T13:05:44.120551Z", "page[number]": "1", "page[size]": "1"},
        )
    ]


async def test_without_a_total_there_is_no_count() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"data": []}))
    async with AsyncTelnyxClient("KEY", transport=transport, clock=StillClock()) as client:
        with pytest.raises(EnvelopeError, match="total_results"):
            await client.count_porting_events()


async def test_single_things_are_fetched_by_id() -> None:
    delivery = samples.delivery()["id"]
    answers = {
        f"/v2/porting/events/{EVENT}": samples.event(),
        f"/v2/porting_orders/{ORDER}": samples.order(),
        f"/v2/webhook_deliveries/{delivery}": samples.delivery(),
    }
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url.copy_with(host="x", scheme="http")))
        return httpx.Response(200, json={"data": answers[request.url.path]})

    async with AsyncTelnyxClient("KEY", transport=httpx.MockTransport(answer), clock=StillClock()) as client:
        assert (await client.get_porting_event(EVENT)).id == EVENT
        assert (await client.get_porting_order(ORDER)).user_id == USER
        assert (await client.get_webhook_delivery(delivery)).status == "failed"
    assert asked[1].endswith("?include_phone_numbers=false")


async def test_orders_are_listed_without_their_numbers() -> None:
    desk = Desk(porting_orders=[samples.order()])
    async with desk.client() as client:
        assert [order.id for order in await rows(client.iter_porting_orders())] == [ORDER]
        assert len(await rows(client.iter_porting_orders(1, limit=1))) == 1
        with pytest.raises(SettingsError, match="limit"):
            await rows(client.iter_porting_orders(limit=0))
    assert desk.asked[0][1]["sort[value]"] == "created_at"
    assert {query["include_phone_numbers"] for _, query in desk.asked} == {"false"}
    assert len(desk.asked) == 2


async def test_filters_of_deliveries_are_spelled_as_published() -> None:
    desk = Desk(webhook_deliveries=[])
    async with desk.client() as client:
        await rows(
            client.iter_webhook_deliveries(
                ["porting_order.split", "porting_order.deleted"],
                "failed",
                finished_at_gte=MOMENT,
                finished_at_lte=MOMENT,
            )
        )
        await rows(client.iter_webhook_deliveries())
    assert desk.asked[0][1] == {
        "filter[event_type]": "porting_order.deleted,porting_order.split",
        "filter[status][eq]": "failed",
        "filter[finished_at][gte]": "2026-09-16T13:05:43Z",
        "filter[finished_at][lte]": "2026-09-16T13:05:46Z",
        "page[number]": "1",
        "page[size]": "250",
    }
    assert {"filter[started_at][lte]"} == {name for name in desk.asked[1][1] if name.startswith("filter")}


async def test_deliveries_outside_the_range_are_dropped() -> None:
    """The wire is asked for a little more; what is given is what was asked for."""
    finished = datetime(2026, 9, 16, 13, 5, 51, 310_000, tzinfo=UTC)
    desk = Desk(webhook_deliveries=[samples.delivery()])
    async with desk.client() as client:
        just = await rows(client.iter_webhook_deliveries(finished_at_lte=finished))
        early = finished - timedelta(microseconds=1)
        not_quite = await rows(client.iter_webhook_deliveries(finished_at_lte=early))
    assert (len(just), len(not_quite)) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"created_at_gte": datetime(2026, 9, 1)}, "created_at_gte"),
        ({"created_at_lte": "2026-09-01"}, "created_at_lte"),
        ({"created_at_gte": NOW, "created_at_lte": NOW - timedelta(1)}, "not later than created_at_lte"),
        ({"event_type": "porting_order.moved"}, "one of porting_order.deleted"),
        ({"porting_order_id": "17"}, "porting_order_id = '17'"),
        ({"page_size": 0}, "page_size = 0"),
        ({"page_size": 251}, "from 1 to 250"),
        ({"page_size": True}, "page_size"),
    ],
)
async def test_impossible_arguments_are_named_before_anything_is_sent(arguments: dict[str, Any], says: str) -> None:
    desk = Desk(porting__events=[])
    async with desk.client() as client:
        with pytest.raises(SettingsError, match=says):
            await rows(client.iter_porting_events(**arguments))
    assert desk.asked == []


@pytest.mark.parametrize("arguments", [{"event_types": "porting_order.split"}, {"status": "lost"}])
async def test_impossible_filters_of_deliveries_are_named(arguments: dict[str, Any]) -> None:
    async with Desk().client() as client:
        with pytest.raises(SettingsError, match=next(iter(arguments))):
            await rows(client.iter_webhook_deliveries(**arguments))


async def test_exception_types_are_a_dictionary() -> None:
    types = [{"code": "OTHER", "description": "Ask"}, {"code": "NEW"}, {"description": "x"}]
    async with Desk(porting_orders__exception_types=types).client() as client:
        assert await client.list_exception_types() == {"OTHER": "Ask", "NEW": ""}


def notifications(name: str) -> Desk:
    return Desk(
        notification_events=[{"id": "e1", "name": name}, {"id": "e2", "name": "Port Out"}],
        notification_event_conditions=[
            {"id": "c1", "notification_event_id": "e1"},
            {"id": "c2", "notification_event_id": "e2"},
        ],
        notification_settings=[
            setting("s1", "c1", "h1", "enabled"),
            setting("s2", "c1", "h2", "enable-pending"),
            setting("s3", "c2", "h2", "enabled"),
            setting("s4", "c1", "gone", "enabled"),
        ],
        notification_channels=[
            {"id": "h1", "channel_type_id": "webhook", "channel_destination": samples.URL},
            {"id": "h2", "channel_type_id": "email", "channel_destination": "desk@example.net"},
        ],
    )


def setting(name: str, condition: str, channel: str, status: str) -> dict[str, str]:
    ids = {"notification_event_condition_id": condition, "notification_channel_id": channel}
    return {"id": name, "status": status} | ids


@pytest.mark.parametrize("name", ["Port In", "port-in notifications", "Port-In Orders", "PORTIN", "port_in"])
async def test_subscriptions_are_joined_from_four_lists(name: str) -> None:
    async with notifications(name).client() as client:
        assert await client.notification_subscriptions() == [
            Subscription("webhook", samples.URL, "enabled"),
            Subscription("email", "desk@example.net", "enable-pending"),
            Subscription(None, None, "enabled"),
        ]


@pytest.mark.parametrize("name", ["Port Out", "Important", "Airport information", "Emergency calls"])
async def test_other_notifications_are_not_taken_for_port_in(name: str) -> None:
    async with notifications(name).client() as client:
        assert await client.notification_subscriptions() == []


async def test_what_was_never_published_is_kept_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """New types, statuses, codes and fields; the log names them and holds nothing of the customer's."""
    status = {"value": "levitating", "details": [{"code": "MOON_PHASE", "description": "Jane"}]}
    strange = [
        samples.event(id=f"{n}", payload=samples.PAYLOADS["status_changed"] | {"status": status}, flavour="Jane")
        for n in range(3)
    ]
    strange += [samples.event(id=f"x{n}", event_type="porting_order.teleported") for n in range(3)]
    async with Desk(porting__events=strange).client() as client:
        with caplog.at_level(logging.WARNING):
            got = await rows(client.iter_porting_events())
            await rows(client.iter_porting_events())
    assert [event.raw for event in got if event.event_type.endswith("teleported")] == strange[3:]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 4
    for word in ("levitating", "MOON_PHASE", "flavour", "porting_order.teleported"):
        assert sum(word in line for line in said) == 1
    assert "Jane" not in caplog.text


@pytest.mark.parametrize(
    "status", [None, 7, "x", [], {"value": []}, {"value": None, "details": 7}, {"details": [7, {}]}]
)
async def test_odd_statuses_are_no_news_and_no_trouble(status: Any) -> None:
    strange = samples.event(payload={"status": status})
    async with Desk(porting__events=[strange]).client() as client:
        assert [event.raw for event in await rows(client.iter_porting_events())] == [strange]
