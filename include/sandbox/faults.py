"""Misfortunes that strike chosen requests, webhooks, payloads and rows, a given number of times."""

from __future__ import annotations

import fnmatch
import random
from dataclasses import asdict, dataclass, fields
from typing import Any

from include.sandbox.model import Event, Fate

API_KINDS = (
    "status",
    "rate_limited",
    "timeout",
    "reset",
    "truncated_json",
    "truncated_body",
    "empty_body",
    "html",
    "slow",
)
WEBHOOK_KINDS = ("webhook_drop", "webhook_fail", "webhook_duplicate", "webhook_late", "webhook_reorder")
EVENT_KINDS = ("stuck", "late_row")
KINDS = (*API_KINDS, *WEBHOOK_KINDS, *EVENT_KINDS, "republish_lost")


class BadFault(ValueError):
    """A fault that cannot be installed."""


@dataclass(slots=True)
class Fault:
    """One misfortune and whom it strikes. What is None matches everything."""

    kind: str
    id: int = 0
    times: int | None = None
    """How often it strikes; None = always."""
    skip: int = 0
    """So many matching occasions pass unharmed first."""
    probability: float = 1.0
    method: str | None = None
    path: str | None = None
    """Shell pattern over the path, for example ``/v2/porting/events/*/republish``."""
    event_type: str | None = None
    event_id: str | None = None
    order_id: str | None = None
    republish: bool | None = None
    """Strike webhooks of a republish only (true) or first notifications only (false)."""
    when: str = "before"
    """For status, timeout and reset: before or after the request had its effect."""
    status: int = 500
    seconds: float = 30.0
    """timeout: how long nothing comes; slow, webhook_late: the delay; late_row: how late it shows up;
    rate_limited: until the reset."""
    count: int = 99
    """webhook_fail: attempts that fail; webhook_duplicate: copies in all; webhook_reorder: size of a batch."""
    error: str = "503"
    """webhook_fail: 503, no_connection or timeout."""
    struck: int = 0


class Faults:
    """The faults in force, in the order in which they were installed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"faults-{seed}")
        self._count = 0
        self.active: list[Fault] = []

    def add(self, spec: dict[str, Any]) -> Fault:
        """Install a fault.

        :raises BadFault: naming the field, the value and what would be right.
        """
        known = {f.name for f in fields(Fault)} - {"id", "struck"}
        unknown = sorted(set(spec) - known)
        if unknown:
            raise BadFault(f"fault field {unknown[0]!r} is none of {', '.join(sorted(known))}")
        if spec.get("kind") not in KINDS:
            raise BadFault(f"fault kind {spec.get('kind')!r} is none of {', '.join(KINDS)}")
        if spec.get("when", "before") not in ("before", "after"):
            raise BadFault(f"fault when {spec['when']!r} is neither before nor after")
        if spec.get("error", "503") not in ("503", "no_connection", "timeout"):
            raise BadFault(f"fault error {spec['error']!r} is none of 503, no_connection, timeout")
        fault = Fault(**spec)
        if fault.kind == "webhook_duplicate" and "count" not in spec:
            fault.count = 2
        if fault.kind == "webhook_reorder" and "count" not in spec:
            fault.count = 3
        self._count += 1
        fault.id = self._count
        self.active.append(fault)
        return fault

    def remove(self, fault_id: int | None = None) -> None:
        """Take one fault away, or all."""
        self.active = [] if fault_id is None else [f for f in self.active if f.id != fault_id]

    def for_request(self, method: str, path: str) -> Fault | None:
        """Give the fault that strikes this request."""
        for fault in self.active:
            if fault.kind not in API_KINDS:
                continue
            if fault.method and fault.method != method:
                continue
            if fault.path and not fnmatch.fnmatchcase(path, fault.path):
                continue
            if self._strikes(fault):
                return fault
        return None

    def for_event(self, kind: str, event: Event, *, republish: bool | None = None) -> Fault | None:
        """Give the fault of a kind that strikes this event."""
        for fault in self.active:
            if fault.kind == kind and self._concerns(fault, event, republish) and self._strikes(fault):
                return fault
        return None

    def fate(self, event: Event, *, republish: bool) -> Fate | None:
        """Say what happens to the webhooks of a notification; None = nothing special."""
        hit = {kind: self.for_event(kind, event, republish=republish) for kind in WEBHOOK_KINDS}
        if not any(hit.values()):
            return None
        fate = Fate(drop=hit["webhook_drop"] is not None)
        if fault := hit["webhook_fail"]:
            fate.fail, fate.error = fault.count, fault.error
        if fault := hit["webhook_duplicate"]:
            fate.copies = fault.count
        if fault := hit["webhook_late"]:
            fate.delay_s = fault.seconds
        if fault := hit["webhook_reorder"]:
            fate.hold = fault.count
        return fate

    def as_list(self) -> list[dict[str, Any]]:
        """Give all faults in force."""
        return [asdict(fault) for fault in self.active]

    @staticmethod
    def _concerns(fault: Fault, event: Event, republish: bool | None) -> bool:
        return (
            fault.event_type in (None, event.type)
            and fault.event_id in (None, event.id)
            and fault.order_id in (None, event.order_id)
            and (fault.republish is None or republish is None or fault.republish == republish)
        )

    def _strikes(self, fault: Fault) -> bool:
        if fault.times is not None and fault.struck >= fault.times:
            return False
        if fault.probability < 1.0 and self._random.random() >= fault.probability:
            return False
        if fault.skip > 0:
            fault.skip -= 1
            return False
        fault.struck += 1
        return True
