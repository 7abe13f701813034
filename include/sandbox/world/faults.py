"""Misfortunes that strike chosen requests, webhooks, payloads and rows, a given number of times."""

from __future__ import annotations

import copy
import fnmatch
import random
from dataclasses import asdict, dataclass, fields
from typing import Any

from include.sandbox.world.model import Event, Fate

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
ROW_KINDS = ("odd_row",)
KINDS = (*API_KINDS, *WEBHOOK_KINDS, *EVENT_KINDS, *ROW_KINDS, "republish_lost")


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
    row_id: str | None = None
    """odd_row: the id of the event, order or delivery record that is shown odd, in its list and alone."""
    row: dict[str, Any] | None = None
    """odd_row: dotted field -> what it holds instead."""
    without: tuple[str, ...] = ()
    """odd_row: dotted fields that are left out."""
    instead: Any = None
    """odd_row without row and without: what stands in the row's place."""
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
        if spec["kind"] in ROW_KINDS and not spec.get("row_id"):
            raise BadFault("fault row_id is missing: an odd_row needs the id of the row")
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

    def spoil(self, path: str, row: dict[str, Any]) -> Any:
        """Give a row of the API as it is shown: itself, or odd."""
        shown: Any = row
        for fault in self.active:
            if fault.kind not in ROW_KINDS or fault.row_id != row["id"]:
                continue
            if (fault.path and not fnmatch.fnmatchcase(path, fault.path)) or not self._strikes(fault):
                continue
            shown = fault.instead
            if fault.row or fault.without:
                shown = copy.deepcopy(row)
                for name, value in (fault.row or {}).items():
                    _set(shown, name.split("."), value)
                for name in fault.without:
                    _drop(shown, name.split("."))
        return shown

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


def _set(row: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    for name in parents:
        row = row.setdefault(name, {})
    row[last] = value


def _drop(row: dict[str, Any], path: list[str]) -> None:
    *parents, last = path
    for name in parents:
        row = row.get(name) or {}
    row.pop(last, None)
