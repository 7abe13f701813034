"""What the world is made of. Times are microseconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(slots=True)
class Fate:
    """What happens to the webhooks of one notification on their way."""

    drop: bool = False
    """Never attempted: no delivery record, no trace."""
    fail: int = 0
    """So many first attempts fail by themselves, the destination is not called."""
    error: str = "503"
    """How they fail: ``503``, ``no_connection`` or ``timeout``."""
    copies: int = 1
    delay_s: float = 0.0
    hold: int = 0
    """Wait until so many notifications are held, then go out last first."""


@dataclass(slots=True, eq=False)
class Event:
    id: str
    type: str
    order_id: str
    occurred_us: int
    created_us: int
    updated_us: int
    completed: bool
    payload: Json | None
    seq: int
    completed_us: int | None = None
    fate: Fate | None = None

    @property
    def sort_key(self) -> tuple[int, int]:
        return (self.created_us, self.seq)


@dataclass(slots=True)
class Number:
    id: str
    phone_number: str


@dataclass(slots=True)
class Order:
    id: str
    created_us: int
    updated_us: int
    seq: int
    status: str = "draft"
    codes: tuple[str, ...] = ()
    customer_reference: str | None = None
    customer_group_reference: str | None = None
    support_key: str | None = None
    parent_support_key: str | None = None
    webhook_url: str | None = None
    foc_requested_us: int | None = None
    foc_actual_us: int | None = None
    activation_status: str | None = None
    messaging_enabled: bool = False
    messaging_status: str = "not_applicable"
    entity_name: str = "Example Ltd"
    auth_person_name: str = "Sam Example"
    country_code: str = "US"
    carrier_name: str = "Losing Carrier"
    phone_number_type: str = "local"
    port_type: str = "full"
    fast_port_eligible: bool = True
    numbers: list[Number] = field(default_factory=list)


@dataclass(slots=True)
class Channel:
    """One subscription of the account: a webhook URL or a mail address."""

    id: str
    type: str
    destination: str
    created_us: int
    status: str = "enabled"


@dataclass(slots=True)
class Attempt:
    started_us: int
    finished_us: int
    ok: bool
    errors: list[int]
    request_headers: list[tuple[str, str]]
    status: int | None = None
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""


@dataclass(slots=True)
class Delivery:
    """One webhook to one destination, with its attempts, oldest first."""

    id: str
    event_id: str
    event_type: str
    part: int
    url: str
    webhook: Json
    attempts: list[Attempt] = field(default_factory=list)
    trying: bool = True
    unmoved_us: int | None = None  # the end that a record keeps although it grows

    @property
    def delivered(self) -> bool:
        return any(attempt.ok for attempt in self.attempts)

    @property
    def started_us(self) -> int:
        return self.attempts[0].started_us

    @property
    def finished_us(self) -> int:
        return self.unmoved_us or self.attempts[-1].finished_us


@dataclass(slots=True)
class Notice:
    """What became of the notifications of one event, for the truth."""

    parts: int = 0
    """Webhooks the event should have caused; 0 while nobody was subscribed when it completed."""
    open: int = 0
    """Webhooks on their way now."""
    first: set[int] = field(default_factory=set)
    """Parts that got a 2xx without a republish."""
    again: set[int] = field(default_factory=set)
    """Parts that got a 2xx by a republish."""
    republished: int = 0
    tries: int = 0
    """Attempts so far, for a provider that goes on counting."""
