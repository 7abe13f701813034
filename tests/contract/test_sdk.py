"""The official SDK, unchanged, finds everything where it expects it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import telnyx
from telnyx.types.porting import (
    porting_event_deleted_payload as deleted,
)
from telnyx.types.porting import (
    porting_event_messaging_changed_payload as messaging,
)
from telnyx.types.porting import (
    porting_event_new_comment_event as comment,
)
from telnyx.types.porting import (
    porting_event_split_event as split,
)
from telnyx.types.porting import (
    porting_event_status_changed_event as status,
)
from telnyx.types.porting import (
    porting_event_without_webhook as email_only,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.sandbox.testing import RunningSandbox
    from tests.support.webhook_receiver import Receiver

MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def client(sandbox: RunningSandbox) -> Iterator[telnyx.Telnyx]:
    with telnyx.Telnyx(
        api_key=sandbox.api_key, base_url=sandbox.base_url, public_key=sandbox.public_key, max_retries=0
    ) as sdk:
        yield sdk


def one_of_each(sandbox: RunningSandbox) -> dict[str, str]:
    """Make an event of every type; gives the ids by type."""
    sandbox.switches(completion="at_once")
    order, draft = sandbox.order(numbers=3), sandbox.order()
    events = [
        *sandbox.act(order, "status", value="in-process"),
        *sandbox.act(order, "comment", body="Please call."),
        *sandbox.act(order, "split", numbers=2),
        *sandbox.act(order, "messaging", value="activating"),
        *sandbox.act(order, "loa"),
        *sandbox.act(order, "token"),
        *sandbox.act(draft, "delete"),
    ]
    return {event["type"]: event["id"] for event in events}


class TestEvents:
    def test_every_type_is_read_as_what_it_is(self, sandbox: RunningSandbox, client: telnyx.Telnyx) -> None:
        ids = one_of_each(sandbox)
        read = {event.event_type: event for event in client.porting.events.list()}
        assert {event_type: event.id for event_type, event in read.items()} == ids
        assert {event_type.partition(".")[2]: type(event) for event_type, event in read.items()} == {
            "status_changed": status.PortingEventStatusChangedEvent,
            "new_comment": comment.PortingEventNewCommentEvent,
            "split": split.PortingEventSplitEvent,
            "messaging_changed": messaging.PortingEventMessagingChangedPayload,
            "loa_updated": email_only.PortingEventWithoutWebhook,
            "sharing_token_expired": email_only.PortingEventWithoutWebhook,
            "deleted": deleted.PortingEventDeletedPayload,
        }
        assert read["porting_order.status_changed"].payload.status.value == "in-process"
        assert read["porting_order.new_comment"].payload.comment.body == "Please call."
        assert len(read["porting_order.split"].payload.porting_phone_numbers) == 2
        assert read["porting_order.messaging_changed"].payload.messaging.messaging_port_status == "activating"
        assert read["porting_order.loa_updated"].payload is None
        assert read["porting_order.deleted"].payload.deleted_at.tzinfo is not None

    def test_pages_follow_each_other(self, sandbox: RunningSandbox, client: telnyx.Telnyx) -> None:
        made = sandbox.burst(7, complete_after=0)
        assert [event.id for event in client.porting.events.list(page_size=3)] == made

    def test_filters(self, sandbox: RunningSandbox, client: telnyx.Telnyx) -> None:
        noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
        order = sandbox.order()
        rows = [
            {"created_at": (noon + timedelta(hours=hour)).isoformat(), "type": kind, "order_id": order}
            for hour, kind in enumerate(["porting_order.new_comment", "porting_order.loa_updated"] * 2)
        ]
        ids = [event["id"] for event in sandbox.insert(*rows)]
        bounds = {"gte": noon + timedelta(hours=1), "lte": noon + timedelta(hours=2)}
        found = client.porting.events.list
        assert [e.id for e in found(filter={"created_at": bounds})] == ids[1:3]
        assert [e.id for e in found(filter={"type": "porting_order.loa_updated"})] == [ids[1], ids[3]]
        assert [e.id for e in found(filter={"porting_order_id": order})] == ids
        assert [e.id for e in found(filter={"porting_order_id": MISSING})] == []

    def test_show(self, sandbox: RunningSandbox, client: telnyx.Telnyx) -> None:
        (event_id,) = sandbox.burst(1)
        assert client.porting.events.retrieve(event_id).data.id == event_id

    def test_republish_says_nothing_and_sends(
        self, sandbox: RunningSandbox, client: telnyx.Telnyx, receiver: Receiver
    ) -> None:
        (event_id,) = sandbox.burst(1, complete_after=0)
        sandbox.subscribe(receiver.url)
        assert client.porting.events.republish(event_id) is None
        sandbox.settle()
        assert [post.document["data"]["id"] for post in receiver.received] == [event_id]


class TestDeliveries:
    def test_list_filter_show(self, sandbox: RunningSandbox, client: telnyx.Telnyx, receiver: Receiver) -> None:
        receiver.answers = [503, 200]
        sandbox.subscribe(receiver.url)
        (event_id,) = sandbox.burst(1, complete_after=0)
        sandbox.settle()
        (record,) = client.webhook_deliveries.list(
            filter={
                "event_type": "porting_order.new_comment,porting_order.split",
                "status": {"eq": "delivered"},
                "webhook": {"contains": event_id},
                "attempts": {"contains": receiver.url},
                "started_at": {"gte": (datetime.now(UTC) - timedelta(minutes=1)).isoformat()},
                "finished_at": {"lte": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()},
            }
        )
        assert record.webhook.id == event_id
        assert [(a.status, a.errors, a.http.response.status) for a in record.attempts] == [
            ("delivered", [], 200),
            ("failed", [75599], 503),
        ]
        assert record.started_at < record.finished_at
        assert client.webhook_deliveries.retrieve(record.id).data == record
        assert list(client.webhook_deliveries.list(filter={"status": {"eq": "failed"}})) == []


class TestOrders:
    def test_list_and_show(self, sandbox: RunningSandbox, client: telnyx.Telnyx) -> None:
        order_id = sandbox.order(numbers=2, customer_reference="north")
        sandbox.order(customer_reference="south")
        (order,) = client.porting_orders.list(filter={"customer_reference": "north"}, include_phone_numbers=False)
        assert (order.id, order.status.value, order.porting_phone_numbers_count) == (order_id, "draft", 2)
        assert order.phone_numbers == []
        shown = client.porting_orders.retrieve(order_id)
        assert len(shown.data.phone_numbers) == 2
        assert order_id in shown.meta.phone_numbers_url

    def test_sorted_both_ways(self, sandbox: RunningSandbox, client: telnyx.Telnyx) -> None:
        made = [sandbox.order() for _ in range(3)]
        assert [o.id for o in client.porting_orders.list(sort={"value": "created_at"})] == made
        assert [o.id for o in client.porting_orders.list()] == made[::-1]

    def test_exception_types(self, client: telnyx.Telnyx) -> None:
        codes = {one.code for one in client.porting_orders.retrieve_exception_types().data}
        assert {"POSTAL_CODE_MISMATCH", "SV_UNKNOWN_FAILURE"} < codes
        assert len(codes) == 21


def test_subscriptions_can_be_followed_from_event_to_url(sandbox: RunningSandbox, client: telnyx.Telnyx) -> None:
    sandbox.subscribe("https://crm.example.com/hook", emails=("desk@example.com",))
    (event,) = [e for e in client.notification_events.list() if "port" in e.name.lower()]
    (condition,) = [c for c in client.notification_event_conditions.list() if c.notification_event_id == event.id]
    settings = list(client.notification_settings.list(filter={"notification_event_condition_id": {"eq": condition.id}}))
    channels = {c.id: c for c in client.notification_channels.list()}
    assert [channels[s.notification_channel_id].channel_destination for s in settings] == [
        "https://crm.example.com/hook",
        "desk@example.com",
    ]
    assert {s.status for s in settings} == {"enabled"}
    (profile,) = client.notification_profiles.list()
    assert {s.notification_profile_id for s in settings} == {profile.id}
    webhooks = client.notification_channels.list(filter={"channel_type_id": {"eq": "webhook"}})
    assert [c.channel_destination for c in webhooks] == ["https://crm.example.com/hook"]


class TestErrors:
    def test_wrong_key(self, sandbox: RunningSandbox) -> None:
        with (
            telnyx.Telnyx(api_key="KEY_WRONG", base_url=sandbox.base_url, max_retries=0) as sdk,
            pytest.raises(telnyx.AuthenticationError) as raised,
        ):
            sdk.porting.events.list()
        assert raised.value.body["errors"][0]["code"] == "10009"

    def test_nothing_there(self, client: telnyx.Telnyx) -> None:
        for call in (
            client.porting.events.retrieve,
            client.porting.events.republish,
            client.webhook_deliveries.retrieve,
            client.porting_orders.retrieve,
        ):
            with pytest.raises(telnyx.NotFoundError):
                call(MISSING)

    def test_bad_parameter(self, client: telnyx.Telnyx) -> None:
        with pytest.raises(telnyx.UnprocessableEntityError) as raised:
            client.porting.events.list(page_size=0)
        assert raised.value.body["errors"][0]["source"] == {"parameter": "page[size]"}

    def test_too_many(self, sandbox: RunningSandbox, client: telnyx.Telnyx) -> None:
        sandbox.rate_limit(1, window_seconds=60)
        client.porting.events.list()
        with pytest.raises(telnyx.RateLimitError) as raised:
            client.porting.events.list()
        assert raised.value.response.headers["x-ratelimit-remaining"] == "0"

    def test_its_own_retry_ends_in_success(self, sandbox: RunningSandbox) -> None:
        sandbox.fault("status", status=503, times=1, method="GET")
        with telnyx.Telnyx(api_key=sandbox.api_key, base_url=sandbox.base_url, max_retries=1) as sdk:
            assert list(sdk.porting.events.list()) == []
        assert sandbox.requests()["total"] == 2
