"""The published vocabulary: event types, statuses, moves between them, exception codes."""

from __future__ import annotations

DELETED = "porting_order.deleted"
LOA_UPDATED = "porting_order.loa_updated"
MESSAGING_CHANGED = "porting_order.messaging_changed"
STATUS_CHANGED = "porting_order.status_changed"
SHARING_TOKEN_EXPIRED = "porting_order.sharing_token_expired"
NEW_COMMENT = "porting_order.new_comment"
SPLIT = "porting_order.split"
#: Not published: what a provider may add one day (switch ``unknown_values``).
UNHEARD_OF = "porting_order.activation_updated"

EVENT_TYPES = (
    DELETED,
    LOA_UPDATED,
    MESSAGING_CHANGED,
    STATUS_CHANGED,
    SHARING_TOKEN_EXPIRED,
    NEW_COMMENT,
    SPLIT,
)
EMAIL_ONLY_TYPES = frozenset({LOA_UPDATED, SHARING_TOKEN_EXPIRED})

MESSAGING_STATUSES = (
    "not_applicable",
    "pending",
    "activating",
    "exception",
    "canceled",
    "partial_port_complete",
    "ported",
)

#: Published moves. ``cancel-pending`` is reached from every status that is not final.
MOVES: dict[str, frozenset[str]] = {
    "draft": frozenset({"in-process", "cancel-pending"}),
    "in-process": frozenset({"submitted", "exception", "cancel-pending"}),
    "submitted": frozenset({"exception", "foc-date-confirmed", "cancel-pending"}),
    "exception": frozenset({"submitted", "in-process", "cancel-pending"}),
    "foc-date-confirmed": frozenset({"activation-in-progress", "ported", "exception", "cancel-pending"}),
    "activation-in-progress": frozenset({"ported", "exception", "cancel-pending"}),
    "cancel-pending": frozenset({"cancelled"}),
    "cancelled": frozenset(),
    "ported": frozenset(),
}

EXCEPTION_CODES: dict[str, str] = {
    "ACCOUNT_NUMBER_MISMATCH": "The account number is not the one the losing carrier has",
    "AUTH_PERSON_MISMATCH": "The authorised person is not the one the losing carrier has",
    "BTN_ATN_MISMATCH": "The billing or account telephone number is not the one the losing carrier has",
    "ENTITY_NAME_MISMATCH": "The name of the company or person is not the one the losing carrier has",
    "FOC_EXPIRED": "The agreed date has passed without a port",
    "FOC_REJECTED": "The losing carrier does not accept the date",
    "LOCATION_MISMATCH": "The service address is not the one the losing carrier has",
    "LSR_PENDING": "Another request is open at the losing carrier",
    "MAIN_BTN_PORTING": "A partial port includes the billing telephone number",
    "OSP_IRRESPONSIVE": "The losing carrier does not answer",
    "OTHER": "Another reason: see the comments",
    "PASSCODE_PIN_INVALID": "The PIN or passcode is wrong",
    "PHONE_NUMBER_HAS_SPECIAL_FEATURE": "A number has a feature that has to be removed first",
    "PHONE_NUMBER_MISMATCH": "A number does not belong to the account",
    "PHONE_NUMBER_NOT_PORTABLE": "A number cannot be ported",
    "PORT_TYPE_INCORRECT": "Full and partial port are mixed up",
    "PORTING_ORDER_SPLIT_REQUIRED": "The order has to be split",
    "POSTAL_CODE_MISMATCH": "The postal code is not the one the losing carrier has",
    "RATE_CENTER_NOT_PORTABLE": "The rate centre cannot be ported",
    "SV_CONFLICT": "The number administration reports a conflict",
    "SV_UNKNOWN_FAILURE": "The number administration reports a failure",
}
#: Seen in a published sample, absent from the published list.
UNLISTED_CODE = "LOA_ILLEGIBLE"


def details(codes: list[str] | tuple[str, ...]) -> list[dict[str, str]]:
    """Write status details for codes; a code that is not in the list gets a description all the same."""
    return [{"code": c, "description": EXCEPTION_CODES.get(c, c.replace("_", " ").capitalize())} for c in codes]


def supports_webhook(event_type: str) -> bool:
    """Say whether a type has a webhook (inferred from the published schemas)."""
    return event_type not in EMAIL_ONLY_TYPES


def methods(event_type: str) -> list[str]:
    """List what the type could use, whoever is subscribed."""
    return ["email", "webhook"] if supports_webhook(event_type) else ["email"]
