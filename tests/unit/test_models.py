"""Models: typed where the shape is as published, None where it is not, and nothing is lost."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_porting.models.events import (
    DeletedEvent,
    MessagingChangedEvent,
    NewCommentEvent,
    PortingEvent,
    SplitEvent,
    StatusChangedEvent,
    UnknownPortingEvent,
    parse_event,
)
from telnyx_porting.models.keys import NaturalKey
from telnyx_porting.models.reading import parse_time, same_instant
from telnyx_porting.models.records import parse_delivery, parse_order, parse_webhook_object
from tests.support import samples
from tests.support.samples import EVENT, ORDER, OTHER_ORDER, PAYLOADS, URL

SECOND = datetime(2026, 9, 16, 13, 5, 44, tzinfo=UTC)


# -- times --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-09-16T13:05:44Z", SECOND),
        ("2026-09-16T13:05:44+00:00", SECOND),
        ("2026-09-16T15:05:44+02:00", SECOND),
        ("2026-09-16T13:05:44", SECOND),
        ("2026-09-16T13:05:44.120551Z", SECOND + timedelta(microseconds=120551)),
        ("2026-09-16T13:05:44.12Z", SECOND + timedelta(milliseconds=120)),
        ("2026-09-16T13:05:44.123456789Z", SECOND + timedelta(microseconds=123456)),
        ("0001-01-01T00:00:00+14:00", None),
        ("2026-09-16", None),
        ("2026-13-16T13:05:44Z", None),
        ("soon, but certainly not yet", None),
        (1_793_611_800, None),
        (None, None),
    ],
)
def test_times_are_read_in_every_form(text: object, moment: datetime | None) -> None:
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("2026-09-16T13:05:44.120551Z", "2026-09-16T13:05:44.120551Z", True),
        ("2026-09-16T13:05:44.120551Z", "2026-09-16T13:05:44.120Z", True),
        ("2026-09-16T13:05:44.120551Z", "2026-09-16T13:05:44Z", True),
        ("2026-09-16T13:05:44.120551Z", "2026-09-16T15:05:44+02:00", True),
        ("2026-09-16T13:05:44.120551Z", "2026-09-16T13:05:44.121Z", False),
        ("2026-09-16T13:05:44.120551Z", "2026-09-16T13:05:44.120552Z", False),
        ("2026-09-16T13:05:44.999Z", "2026-09-16T13:05:45Z", False),
        ("2026-09-16T13:05:44Z", None, False),
        ("never", "never", False),
    ],
)
def test_instants_are_compared_at_the_coarser_written_precision(a: str | None, b: str | None, same: bool) -> None:
    assert same_instant(a, b) is same
    assert same_instant(b, a) is same


@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 6), st.integers(0, 6))
def test_one_instant_written_twice_is_one_instant(moment: datetime, digits: int, others: int) -> None:
    def written(count: int) -> str:
        fraction = f".{moment.microsecond:06d}"[: count + 1] if count else ""
        return moment.replace(microsecond=0).isoformat().replace("+00:00", f"{fraction}Z")

    assert same_instant(written(digits), written(others))


# -- events -------------------------------------------------------------------------------------------------------


def test_an_event_of_each_type_is_of_its_class() -> None:
    status = parse_event(samples.event("status_changed"))
    assert isinstance(status, StatusChangedEvent)
    assert status.status == "exception"
    assert status.status_details == (("POSTAL_CODE_MISMATCH", "Postal code differs from the carrier record"),)
    assert status.customer_reference == "north-branch-17"
    assert status.support_key == "sr_4d71e9"
    assert status.webhook_url == URL
    assert status.status_updated_at == SECOND + timedelta(microseconds=120551)
    comment = parse_event(samples.event("new_comment"))
    assert isinstance(comment, NewCommentEvent)
    assert comment.comment_body == "Please send the last invoice."
    assert comment.comment_user_type == "admin"
    assert comment.commented_at == datetime(2026, 9, 16, 13, 20, 2, 410_000, tzinfo=UTC)
    split = parse_event(samples.event("split"))
    assert isinstance(split, SplitEvent)
    assert (split.from_order_id, split.to_order_id, split.phone_number_ids) == (ORDER, OTHER_ORDER, (EVENT,))
    messaging = parse_event(samples.event("messaging_changed"))
    assert isinstance(messaging, MessagingChangedEvent)
    assert messaging.messaging_port_status == "activating"
    assert messaging.messaging_port_completed is False


def test_both_shapes_of_deleted_say_the_same() -> None:
    old, new = parse_event(samples.event("deleted")), parse_event(samples.new_deleted_event())
    assert isinstance(new, DeletedEvent)
    assert isinstance(old, DeletedEvent)
    for name in ("created_at", "updated_at", "natural_key", "deleted_at", "porting_order_id"):
        assert getattr(new, name) == getattr(old, name) is not None


def test_another_types_payload_does_not_lend_its_times() -> None:
    """The payload of a status change has an ``updated_at``: the order's, not the event's."""
    row = samples.event()
    del row["updated_at"], row["created_at"]
    event = parse_event(row)
    assert event.updated_at is event.created_at is None


def test_an_unknown_type_is_kept_as_it_is() -> None:
    """The SDK makes a ``deleted`` event of it."""
    row = samples.event(event_type="porting_order.teleported", payload={"id": ORDER, "where": "away"}, extra=1)
    event = parse_event(row)
    assert type(event) is UnknownPortingEvent
    assert event.event_type == "porting_order.teleported"
    assert event.payload == {"id": ORDER, "where": "away"}
    assert event.raw is row
    assert event.natural_key is None


def test_an_event_cannot_be_changed_and_can_be_hashed() -> None:
    event = parse_event(samples.event())
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.id = "x"  # type: ignore[misc]
    assert {event} == {parse_event(samples.event())}


def test_a_payload_is_not_shown() -> None:
    assert "invoice" not in repr(parse_event(samples.event("new_comment")))
    assert "invoice" not in repr(parse_webhook_object(samples.webhook("new_comment")["data"]))


@pytest.mark.parametrize(
    ("kind", "methods", "supported"),
    [
        ("status_changed", ["email", "webhook"], True),
        ("status_changed", ["email"], False),
        ("status_changed", ["webhook_v1"], True),
        ("status_changed", None, True),
        ("status_changed", "webhook", True),
        ("loa_updated", None, False),
        ("loa_updated", ["email"], False),
        ("sharing_token_expired", ["email", "webhook"], True),
        ("teleported", ["webhook"], True),
        ("teleported", None, False),
    ],
)
def test_methods_decide_on_webhooks_and_without_them_the_type(kind: str, methods: object, supported: bool) -> None:
    event = parse_event(samples.event(kind, available_notification_methods=methods))
    assert event.supports_webhook is supported


# -- natural keys -------------------------------------------------------------------------------------------------

KEYS = {
    "status_changed": NaturalKey(
        f"status_changed:{ORDER}:exception:2026-09-16T13:05:44", "2026-09-16T13:05:44.120551Z"
    ),
    "new_comment": NaturalKey("new_comment:ac8efe12-1c59-49f1-ba2d-de83458bfed0"),
    "split": NaturalKey(f"split:{ORDER}:{OTHER_ORDER}"),
    "deleted": NaturalKey(f"deleted:{ORDER}:2026-10-05T00:00:09", "2026-10-05T00:00:09.551Z"),
    "messaging_changed": NaturalKey(f"messaging_changed:{ORDER}:activating", "2026-09-16T13:05:44.201377Z"),
}


@pytest.mark.parametrize("kind", sorted(KEYS))
def test_an_event_has_its_key(kind: str) -> None:
    assert parse_event(samples.event(kind)).natural_key == KEYS[kind]


@pytest.mark.parametrize("kind", sorted(KEYS))
@pytest.mark.parametrize("enveloped", [True, False])
def test_a_webhook_has_the_key_of_its_event(kind: str, enveloped: bool) -> None:
    """Even where the webhook writes whole seconds, another offset and capitals."""
    coarse = {
        "status_changed": {"updated_at": "2026-09-16T15:05:44+02:00", "id": ORDER.upper()},
        "deleted": {"deleted_at": "2026-10-05T00:00:09Z"},
    }
    body = samples.webhook(kind, enveloped=enveloped, payload=PAYLOADS[kind] | coarse.get(kind, {}))
    webhook = parse_webhook_object(body["data"] if enveloped else body)
    event = parse_event(samples.event(kind))
    assert webhook.natural_key is not None
    assert event.natural_key is not None
    assert webhook.natural_key.key == event.natural_key.key
    assert webhook.order_id is not None
    assert webhook.order_id.lower() == event.porting_order_id
    if kind in coarse:
        assert same_instant(webhook.natural_key.at, event.natural_key.at)
    if kind == "messaging_changed":
        assert webhook.natural_key.at == "2026-09-16T13:05:44Z"


@pytest.mark.parametrize("kind", sorted(KEYS))
def test_without_its_payload_an_event_has_no_key(kind: str) -> None:
    assert parse_event(samples.event(kind, payload=None)).natural_key is None
    assert parse_event(samples.event(kind, payload={})).natural_key is None


# -- whatever comes -----------------------------------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def bent(draw: st.DrawFn, row: dict[str, Any]) -> dict[str, Any]:
    """Replace or drop values anywhere in an object."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        choice = draw(st.integers(0, 9))
        if choice == 0:
            continue
        if choice == 1:
            out[name] = draw(anything)
        elif isinstance(value, dict):
            out[name] = draw(bent(value))
        elif isinstance(value, list) and choice == 2:
            out[name] = [*value, draw(anything)]
        else:
            out[name] = value
    return out


@given(st.sampled_from([*PAYLOADS, "loa_updated", "teleported"]).flatmap(lambda kind: bent(samples.event(kind))))
def test_no_shape_of_an_event_breaks_it(row: dict[str, Any]) -> None:
    row["id"] = EVENT
    before = repr(row)
    event = parse_event(row)
    for cls in type(event).__mro__:
        for name, attribute in vars(cls).items():
            if isinstance(attribute, property):
                getattr(event, name)
    assert isinstance(event, PortingEvent)
    assert repr(event.raw) == before
    repr(event)


@given(bent(samples.order()), bent(samples.delivery()), bent(samples.webhook()["data"]))
def test_no_shape_of_a_record_breaks_it(order: dict[str, Any], delivery: dict[str, Any], data: dict[str, Any]) -> None:
    parse_order(order | {"id": ORDER})
    parse_delivery(delivery | {"id": ORDER})
    parse_webhook_object(data)


@pytest.mark.parametrize("parse", [parse_event, parse_order, parse_delivery])
@pytest.mark.parametrize("bad", [None, 7, "", ["x"]])
def test_a_row_without_an_id_is_refused(parse: Any, bad: object) -> None:
    with pytest.raises(ValueError, match="without id"):
        parse({"id": bad})


# -- orders and deliveries ----------------------------------------------------------------------------------------


def test_an_order_is_read_without_personal_data() -> None:
    order = parse_order(samples.order())
    assert (order.id, order.status, order.country_code) == (ORDER, "exception", "US")
    assert order.foc_requested == datetime(2026, 10, 2, 15, tzinfo=UTC)
    assert order.foc_actual is None
    assert order.activation_status == "New"
    assert order.messaging_status == "pending"
    assert order.phone_numbers_count == 2
    assert "1234" not in repr(order)


@pytest.mark.parametrize("errors", [[75599], ["75599"], [{"code": "75599", "title": "x"}], [{"code": 75599}]])
@pytest.mark.parametrize("key", ["response", "reponse"])
@pytest.mark.parametrize("event_type", ["porting_order.status_changed", "porting_order_status_changed"])
def test_a_delivery_is_read_in_each_of_its_shapes(errors: list[Any], key: str, event_type: str) -> None:
    row = samples.delivery()
    row["attempts"][0] |= {"errors": errors, "http": {"request": {"url": URL}, key: {"status": 503}}}
    row["webhook"] = row["webhook"] | {"event_type": event_type}
    delivery = parse_delivery(row)
    assert delivery.attempts[0].error_codes == ("75599",)
    assert delivery.attempts[0].http_status == 503
    assert delivery.attempts[1].http_status is None
    assert {attempt.url for attempt in delivery.attempts} == {URL}
    assert delivery.webhook.natural_key == KEYS["status_changed"]
