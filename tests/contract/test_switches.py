"""Every switch changes what goes over the wire, in every position.

A row names a switch, says how to look at the wire, and what is to be seen in each position. The looks are in
``looks.py`` and ``mail_looks.py``; they know nothing of the inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from include.sandbox.world.switches import CHOICES, NUMBERS
from tests.support import looks, mail_looks

if TYPE_CHECKING:
    import httpx

    from include.sandbox.testing import RunningSandbox
    from tests.support.webhook_receiver import Receiver

#: switch -> (how to look, what is seen in each position)
TABLE: dict[str, tuple[Any, dict[Any, Any]]] = {
    "event_order": (looks.order_of_three, {"created_at": [0, 1, 2], "-created_at": [2, 1, 0]}),
    "tie_order": (looks.orders_of_ties, {"stable": "always the same", "unstable": "not the same"}),
    "created_at_bounds": (
        looks.bounds,
        {"inclusive": [1, 2, 3], "exclusive": [2], "truncated": [0, 1, 2, 3, 4]},
    ),
    "list_meta": (
        looks.meta_of_a_list,
        {
            "full": ["page_number", "page_size", "total_pages", "total_results"],
            "no_totals": ["page_number", "page_size"],
            "absent": None,
        },
    ),
    "totals_cap": (looks.totals, {None: (3, 3, 1), 2: (2, 2, 1)}),
    "page_size_over_max": (looks.page_of_300, {"refused": (422, None), "capped": (200, 250)}),
    "page_past_end": (looks.page_past_end, {"empty": (200, []), "refused": (422, None)}),
    "list_growth": (
        looks.two_pages_of_one,
        {"off": ([0, 1], 2), "on": ([0, 1], 3), "behind": ([0, 0], 3)},
    ),
    "malformed_id": (looks.status_of_a_malformed_id, {"not_found": 404, "unprocessable": 422}),
    "event_retention_days": (looks.age_in_days_of_what_is_kept, {None: ([1, 40], 200), 30: ([1], 404)}),
    "deleted_created_at": (looks.places_of_created_at, {"top": (True, False), "payload": (False, True)}),
    "unknown_values": (
        looks.what_nobody_published,
        {"none": ([], [], False), "some": (["porting_order.activation_updated"], ["LOA_ILLEGIBLE"], True)},
    ),
    "completion": (
        looks.payload_over_time,
        {"later": ["created", "completed"], "at_once": ["completed", "completed"], "never": ["created", "created"]},
    ),
    "webhook_id": (mail_looks.webhook_ids_of_a_split, {"event": {True}, "unrelated": {False}}),
    "channel_webhook_id": (mail_looks.ids_of_a_notification_to_two_channels, {"shared": 1, "own": 2}),
    "webhook_shape": (
        mail_looks.shapes_by_type,
        {
            "enveloped": {"messaging_changed": "enveloped", "deleted": "enveloped", "new_comment": "enveloped"},
            "raw": {"messaging_changed": "raw", "deleted": "raw", "new_comment": "enveloped"},
        },
    ),
    "webhook_times": (
        mail_looks.precision_of_webhook_times,
        {"as_event": ("Z", True, True), "coarse": ("+00:00", False, False)},
    ),
    "split_events": (mail_looks.events_and_webhooks_of_a_split, {"one": (1, 3), "per_number": (3, 3)}),
    "split_webhooks": (mail_looks.events_and_webhooks_of_a_split, {"per_number": (1, 3), "one": (1, 1)}),
    "order_url": (mail_looks.urls_called, {"with_channels": ["account", "order"], "instead_of_channels": ["order"]}),
    "republish_webhook_id": (mail_looks.republished_id, {"kept": (True, True), "new": (False, False)}),
    "republish_occurred_at": (mail_looks.republished_occurred_at, {"kept": "then", "now": "now"}),
    "republish_attempt": (mail_looks.attempts_with_republish, {"restarts": [1, 2, 1], "continues": [1, 2, 3]}),
    "republish_delivery": (
        mail_looks.records_with_republish,
        {
            "new_record": [(["delivered"], True), (["failed", "failed"], True)],
            "appended": [(["delivered", "failed", "failed"], True)],
            "appended_unmoved": [(["delivered", "failed", "failed"], False)],
        },
    ),
    "republish_unsubscribed": (mail_looks.republish_to_nobody, {"accepted": 204, "refused": 422}),
    "republish_unfinished": (
        mail_looks.republish_without_payload,
        {"accepted": (204, "created", 0), "refused": (422, "created", 0), "completes": (204, "completed", 1)},
    ),
    "republish_order_url": (mail_looks.republish_to_the_order_only, {"counts": 1, "ignored": 0}),
    "republish_touches_event": (mail_looks.updated_at_after_republish, {"no": "same", "yes": "later"}),
    "deliveries_cover": (mail_looks.number_of_deliveries, {"everything": 1, "no_port_ins": 0}),
    "delivery_listed": (
        mail_looks.deliveries_while_trying,
        {"after_last_try": ([], [2]), "from_first_try": ([1], [2])},
    ),
    "delivery_retention_days": (mail_looks.deliveries_a_while_later, {None: 1, 0.00001: 0}),
    "delivery_errors": (mail_looks.an_error, {"integers": 75599, "objects": ["code", "detail", "title"]}),
    "delivery_shape": (
        mail_looks.delivery_shape,
        {
            "published": (list, "response", "porting_order.new_comment"),
            "drifted": (str, "reponse", "porting_order_new_comment"),
        },
    ),
    "delivery_contains": (mail_looks.found_by_nested_text, {"nested": 1, "top_level": 0}),
    "delivery_case": (mail_looks.found_by_upper_case, {"sensitive": 0, "insensitive": 1}),
    "delivery_order": (mail_looks.order_of_deliveries, {"-started_at": [1, 0], "started_at": [0, 1]}),
    "order_filters": (looks.order_filter_forms, {"nested": (200, 422), "dotted": (422, 200)}),
    "rate_limit_headers": (looks.rate_limit_headers, {"present": True, "absent": False}),
    "rate_limit_reset": (looks.rate_limit_reset, {"seconds": "seconds", "epoch": "epoch"}),
    "rate_limit_form": (looks.rate_limit_form, {"plain": "7", "structured": "7, 7;w=60"}),
    "retry_after": (looks.retry_after, {"absent": None, "present": "60"}),
    "error_body": (
        looks.error_body,
        {"json": "application/json 10005", "empty": "no body", "text": "text/plain 404 Resource not found"},
    ),
    "clock_skew_seconds": (looks.date_against_ours, {0: 0, 240: 240, -240: -240}),
}


def test_every_switch_and_every_position_is_looked_at() -> None:
    assert set(TABLE) == {*CHOICES, *NUMBERS}
    for name, (positions, _) in CHOICES.items():
        assert tuple(TABLE[name][1]) == positions
    for name in NUMBERS:
        assert len(TABLE[name][1]) >= 2
    for name, (_, seen) in TABLE.items():
        different = {repr(one) for one in seen.values()}
        assert len(different) == len(seen), f"{name}: two positions look the same"


@pytest.mark.parametrize(("name", "position"), [(name, p) for name, (_, seen) in TABLE.items() for p in seen])
def test_position(name: str, position: Any, sandbox: RunningSandbox, api: httpx.Client, receiver: Receiver) -> None:
    look, seen = TABLE[name]
    sandbox.switches(completion="at_once")
    sandbox.switches(**{name: position})
    assert look(looks.Eyes(sandbox, api, receiver)) == seen[position]


def test_defaults_are_first_positions(sandbox: RunningSandbox) -> None:
    shown = sandbox.control("GET", "/switches")
    assert shown == {name: positions[0] for name, (positions, _) in CHOICES.items()} | dict.fromkeys(NUMBERS) | {
        "clock_skew_seconds": 0
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"event_order": "sideways"}, "event_order: 'sideways' is none of created_at, -created_at"),
        ({"no_such": 1}, "there is no switch 'no_such'"),
        ({"totals_cap": "many"}, "totals_cap: 'many' is no number"),
        ({"totals_cap": 0}, "totals_cap: 0 is not above 0"),
        ({"clock_skew_seconds": None}, "clock_skew_seconds: None is no number"),
    ],
)
def test_a_wrong_position_changes_nothing(sandbox: RunningSandbox, wrong: dict[str, Any], said: str) -> None:
    before = sandbox.control("GET", "/switches")
    with pytest.raises(Exception, match="400") as refused:
        sandbox.switches(list_meta="absent", **wrong)
    assert said in str(refused.value)
    assert sandbox.control("GET", "/switches") == before
