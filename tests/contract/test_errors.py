"""What is refused, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from include.sandbox.testing import RunningSandbox

ID = "00000000-0000-4000-8000-000000000000"
READS = [
    "/porting/events",
    f"/porting/events/{ID}",
    "/webhook_deliveries",
    f"/webhook_deliveries/{ID}",
    "/porting_orders",
    f"/porting_orders/{ID}",
    "/porting_orders/exception_types",
    "/notification_settings",
    "/notification_channels",
    "/notification_event_conditions",
    "/notification_events",
    "/notification_profiles",
]


def error(response: httpx.Response) -> dict[str, Any]:
    (one,) = response.json()["errors"]
    assert one["code"].isdecimal()
    assert one["title"]
    assert one["meta"]["url"].endswith(f"/errors/{one['code']}")
    return one


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer KEY_WRONG"}, {"Authorization": "KEY_SANDBOX"}])
def test_no_key_no_answer(sandbox: RunningSandbox, path: str, header: dict[str, str]) -> None:
    response = httpx.get(sandbox.base_url + path, headers=header, trust_env=False)
    assert response.status_code == 401
    assert error(response)["code"] == "10009"


def test_no_key_no_republish(sandbox: RunningSandbox) -> None:
    (event_id,) = sandbox.burst(1, complete_after=0)
    sandbox.subscribe(sandbox.sink_url())
    assert httpx.post(f"{sandbox.base_url}/porting/events/{event_id}/republish").status_code == 401
    assert sandbox.settle()["webhooks_in_flight"] == 0
    assert sandbox.sent() == []


@pytest.mark.parametrize(
    ("path", "parameter", "value", "code"),
    [
        ("/porting/events", "filter[type]", "porting_order.moved", "10032"),
        ("/porting/events", "filter[porting_order_id]", "abc", "10006"),
        ("/porting/events", "filter[created_at][gte]", "2026-01-01", "10026"),
        ("/porting/events", "filter[created_at][lte]", "2026-01-01T00:00:00", "10026"),
        ("/porting/events", "filter[created_at][gte]", "0001-01-01T00:00:00+23:00", None),
        ("/porting/events", "filter[status]", "created", "10031"),
        ("/porting/events", "filter[type][in]", "porting_order.split", "10031"),
        ("/porting/events", "sort", "created_at", "10031"),
        ("/porting/events", "page[number]", "0", "10033"),
        ("/porting/events", "page[size]", "251", "10033"),
        ("/porting/events", "page[size]", "ten", "10026"),
        ("/porting/events", "page[cursor]", "x", "10031"),
        ("/porting_orders", "sort[value]", "updated_at", "10032"),
        ("/porting_orders", "filter[misc][type]", "some", "10032"),
        ("/porting_orders", "include_phone_numbers", "maybe", "10026"),
        ("/porting_orders", "filter[activation_settings][foc_datetime_requested][gt]", "soon", "10026"),
        ("/webhook_deliveries", "filter[status][eq]", "pending", "10032"),
        ("/webhook_deliveries", "filter[started_at][gte]", "yesterday", "10026"),
        ("/notification_settings", "filter[status][eq]", "on", "10032"),
        ("/notification_channels", "filter[channel_type_id][eq]", "pigeon", "10032"),
        ("/notification_events", "filter[status][eq]", "enabled", "10031"),
    ],
)
def test_a_parameter_that_cannot_be_used(
    api: httpx.Client, path: str, parameter: str, value: str, code: str | None
) -> None:
    response = api.get(path, params={parameter: value})
    if code is None:
        assert response.status_code == 200
        return
    assert response.status_code == 422
    assert (error(response)["code"], error(response)["source"]) == (code, {"parameter": parameter})


def test_a_plus_that_was_not_encoded_is_a_space(api: httpx.Client) -> None:
    assert api.get("/porting/events?filter[created_at][gte]=2026-01-01T00:00:00+00:00").status_code == 422
    assert api.get("/porting/events?filter[created_at][gte]=2026-01-01T00:00:00%2B00:00").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no_such_thing", 404),
        ("DELETE", "/porting/events", 405),
        ("GET", f"/porting/events/{ID}/republish", 405),
    ],
)
def test_what_is_not_there_is_refused_as_json(api: httpx.Client, method: str, path: str, status: int) -> None:
    response = api.request(method, path)
    assert response.status_code == status
    assert error(response)


def test_the_limit_counts_every_request_and_ends_with_its_window(sandbox: RunningSandbox, api: httpx.Client) -> None:
    sandbox.rate_limit(2, window_seconds=0.3)
    assert [api.get("/porting/events").status_code for _ in range(3)] == [200, 200, 429]
    refused = api.get("/porting/events")
    assert error(refused)["code"] == "10011"
    assert refused.headers["x-ratelimit-reset"] == "1"
    while (response := api.get("/porting/events")).status_code == 429:
        pass
    assert response.headers["x-ratelimit-remaining"] == "1"


def test_ids_are_read_in_either_case(sandbox: RunningSandbox, api: httpx.Client) -> None:
    order = sandbox.order()
    (event_id,) = sandbox.burst(1)
    assert api.get(f"/porting_orders/{order.upper()}").status_code == 200
    assert api.get(f"/porting/events/{event_id.upper()}").json()["data"]["id"] == event_id
