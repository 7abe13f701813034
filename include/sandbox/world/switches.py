"""The points on which Telnyx publishes nothing or contradicts itself, each as a switch with a default."""

from __future__ import annotations

from typing import Any


class BadSwitch(ValueError):
    """A switch that does not exist, or a position it does not have."""


#: name -> (positions, first one is the default; what it decides)
CHOICES: dict[str, tuple[tuple[str, ...], str]] = {
    "event_order": (("created_at", "-created_at"), "order of the event list"),
    "tie_order": (("stable", "unstable"), "order of events created in the same microsecond"),
    "created_at_bounds": (("inclusive", "exclusive", "truncated"), "gte/lte; truncated = compared in whole seconds"),
    "list_meta": (("full", "no_totals", "absent"), "what lists say about themselves"),
    "page_size_over_max": (("refused", "capped"), "page[size] above 250"),
    "page_past_end": (("empty", "refused"), "page[number] behind the last page"),
    "list_growth": (("off", "on", "behind"), "every page of events read makes a new event; behind = created before it"),
    "malformed_id": (("not_found", "unprocessable"), "a path id that is no UUID"),
    "deleted_created_at": (("top", "payload"), "where a deleted event keeps its times"),
    "unknown_values": (("none", "some"), "new status, exception code and event type turn up"),
    "completion": (("later", "at_once", "never"), "when a payload is generated"),
    "webhook_id": (("event", "unrelated"), "data.id of a webhook"),
    "channel_webhook_id": (("shared", "own"), "data.id of one notification to several channels"),
    "webhook_shape": (("enveloped", "raw"), "messaging_changed and deleted webhooks"),
    "webhook_times": (("as_event", "coarse"), "precision of the times in webhooks"),
    "split_events": (("one", "per_number"), "events for one split"),
    "split_webhooks": (("per_number", "one"), "webhooks for one split event"),
    "order_url": (("with_channels", "instead_of_channels"), "order webhook_url and account channel both set"),
    "republish_webhook_id": (("kept", "new"), "data.id of a republished webhook"),
    "republish_occurred_at": (("kept", "now"), "occurred_at of a republished webhook"),
    "republish_attempt": (("restarts", "continues"), "meta.attempt of a republished webhook"),
    "republish_delivery": (
        ("new_record", "appended", "appended_unmoved"),
        "where the attempts of a republish are recorded; unmoved: finished_at stays",
    ),
    "republish_unsubscribed": (("accepted", "refused"), "republish while nobody is subscribed"),
    "republish_unfinished": (("accepted", "refused", "completes"), "republish while the payload is null"),
    "republish_order_url": (("counts", "ignored"), "the order's webhook_url as a subscription"),
    "republish_touches_event": (("no", "yes"), "republish moves updated_at"),
    "deliveries_cover": (("everything", "no_port_ins"), "port-in webhooks in /webhook_deliveries"),
    "delivery_listed": (("after_last_try", "from_first_try"), "when a delivery shows up"),
    "delivery_errors": (("integers", "objects"), "errors of an attempt"),
    "delivery_shape": (("published", "drifted"), "headers as strings, `reponse`, event_type with _"),
    "delivery_contains": (("nested", "top_level"), "how deep filter[webhook][contains] looks"),
    "delivery_case": (("sensitive", "insensitive"), "case rule of the contains filters"),
    "delivery_order": (("-started_at", "started_at"), "order of the delivery list"),
    "order_filters": (("nested", "dotted"), "which form of the order filters is honoured"),
    "rate_limit_headers": (("present", "absent"), "x-ratelimit-*"),
    "rate_limit_reset": (("seconds", "epoch"), "x-ratelimit-reset"),
    "rate_limit_form": (("plain", "structured"), "x-ratelimit-limit"),
    "retry_after": (("absent", "present"), "Retry-After on 429"),
    "error_body": (("json", "empty", "text"), "body of error answers"),
}

#: name -> what it decides; null (or 0 for the skew) is the default
NUMBERS: dict[str, str] = {
    "totals_cap": "total_results and total_pages never say more than this; null = exact",
    "event_retention_days": "older events are gone; null = kept for ever",
    "delivery_retention_days": "older deliveries are gone; null = kept for ever",
    "clock_skew_seconds": "the provider's clock minus the real one",
}


class Switches:
    """Positions of all switches; read as attributes."""

    event_order: str
    tie_order: str
    created_at_bounds: str
    list_meta: str
    page_size_over_max: str
    page_past_end: str
    list_growth: str
    malformed_id: str
    deleted_created_at: str
    unknown_values: str
    completion: str
    webhook_id: str
    channel_webhook_id: str
    webhook_shape: str
    webhook_times: str
    split_events: str
    split_webhooks: str
    order_url: str
    republish_webhook_id: str
    republish_occurred_at: str
    republish_attempt: str
    republish_delivery: str
    republish_unsubscribed: str
    republish_unfinished: str
    republish_order_url: str
    republish_touches_event: str
    deliveries_cover: str
    delivery_listed: str
    delivery_errors: str
    delivery_shape: str
    delivery_contains: str
    delivery_case: str
    delivery_order: str
    order_filters: str
    rate_limit_headers: str
    rate_limit_reset: str
    rate_limit_form: str
    retry_after: str
    error_body: str
    totals_cap: float | None
    event_retention_days: float | None
    delivery_retention_days: float | None
    clock_skew_seconds: float

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Put every switch into its default position."""
        for name, (positions, _) in CHOICES.items():
            setattr(self, name, positions[0])
        for name in NUMBERS:
            setattr(self, name, 0 if name == "clock_skew_seconds" else None)

    def set(self, positions: dict[str, Any]) -> None:
        """Turn some switches; all or nothing.

        :raises BadSwitch: naming the switch, the value and what would be right.
        """
        for name, value in positions.items():
            if name in CHOICES:
                if value not in CHOICES[name][0]:
                    raise BadSwitch(f"switch {name}: {value!r} is none of {', '.join(CHOICES[name][0])}")
            elif name not in NUMBERS:
                raise BadSwitch(f"there is no switch {name!r}")
            elif value is None and name != "clock_skew_seconds":
                continue
            elif isinstance(value, bool) or not isinstance(value, int | float):
                raise BadSwitch(f"switch {name}: {value!r} is no number")
            elif name != "clock_skew_seconds" and value <= 0:
                raise BadSwitch(f"switch {name}: {value!r} is not above 0")
        for name, value in positions.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """Give all positions."""
        return {name: getattr(self, name) for name in (*CHOICES, *NUMBERS)}
