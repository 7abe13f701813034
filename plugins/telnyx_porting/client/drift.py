"""What Telnyx sends that was not published when this was written: kept by the models, and said once in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from telnyx_porting.models.events import StatusChangedEvent, UnknownPortingEvent

if TYPE_CHECKING:
    from telnyx_porting.models.events import PortingEvent

log = logging.getLogger(__name__)

FIELDS = frozenset(
    {
        "id",
        "event_type",
        "porting_order_id",
        "available_notification_methods",
        "payload_status",
        "payload",
        "record_type",
        "created_at",
        "updated_at",
    }
)
STATUSES = frozenset(
    {
        "draft",
        "in-process",
        "submitted",
        "exception",
        "foc-date-confirmed",
        "activation-in-progress",
        "ported",
        "cancelled",
        "cancel-pending",
    }
)
CODES = frozenset(
    {
        "ACCOUNT_NUMBER_MISMATCH",
        "AUTH_PERSON_MISMATCH",
        "BTN_ATN_MISMATCH",
        "ENTITY_NAME_MISMATCH",
        "FOC_EXPIRED",
        "FOC_REJECTED",
        "LOA_ILLEGIBLE",
        "LOCATION_MISMATCH",
        "LSR_PENDING",
        "MAIN_BTN_PORTING",
        "OSP_IRRESPONSIVE",
        "OTHER",
        "PASSCODE_PIN_INVALID",
        "PHONE_NUMBER_HAS_SPECIAL_FEATURE",
        "PHONE_NUMBER_MISMATCH",
        "PHONE_NUMBER_NOT_PORTABLE",
        "PORTING_ORDER_SPLIT_REQUIRED",
        "PORT_TYPE_INCORRECT",
        "POSTAL_CODE_MISMATCH",
        "RATE_CENTER_NOT_PORTABLE",
        "SV_CONFLICT",
        "SV_UNKNOWN_FAILURE",
    }
)
_USUAL = len(FIELDS)
MOST = 100
"""Things said per client; a provider gone mad must not fill a log."""


class Drift:
    """Remembers what was said already."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def look_at(self, events: list[PortingEvent]) -> None:
        """Say what is new in these events: names of types, statuses, codes and fields, never contents."""
        # Nearly every event has exactly the published fields; this is asked of each, so it is asked cheaply.
        for event in [event for event in events if len(event.raw) != _USUAL]:
            for name in event.raw.keys() - FIELDS:
                self._say("field", name)
        for event in [event for event in events if type(event) is UnknownPortingEvent]:
            self._say("event type", event.event_type)
        changes = [event for event in events if isinstance(event, StatusChangedEvent)]
        try:
            known = [event.raw["payload"]["status"] for event in changes]
            statuses = {status["value"] for status in known}
            codes = {detail["code"] for status in known for detail in status["details"]}
            if statuses <= STATUSES and codes <= CODES:
                return
        except (KeyError, TypeError):
            pass
        for event in changes:
            if event.status is not None and event.status not in STATUSES:
                self._say("status", event.status)
            for code, _ in event.status_details:
                if code not in CODES:
                    self._say("exception code", code)

    def _say(self, kind: str, name: str) -> None:
        if (kind, name) in self._said or len(self._said) >= MOST:
            return
        self._said.add((kind, name))
        log.warning("Telnyx sends a %s that is not published: %r (kept as it is)", kind, name[:80])
