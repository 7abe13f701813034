"""What an exception code means for a porting desk: whose step it is, and which.

From Telnyx's published meanings of the codes; the set is open, so an unknown code simply has no hint. The event's own
description always comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from telnyx_porting.escaping import one_line
from telnyx_porting.flows.findings.kind import CARRIER, TELNYX, US, Step, Told

Code = Sequence[str | None]
"""A code and what the event says of it."""


class Hint(NamedTuple):
    """One code."""

    owner: str
    meaning: str
    step: str


HINTS: dict[str, Hint] = {
    "ACCOUNT_NUMBER_MISMATCH": Hint(
        US,
        "account number differs from the carrier's record",
        "correct it from the CSR; some carriers use the BTN",
    ),
    "AUTH_PERSON_MISMATCH": Hint(
        US, "authorised person differs from the carrier's record", "use the exact name on the account"
    ),
    "BTN_ATN_MISMATCH": Hint(
        US, "billing or account telephone number differs", "ask the losing carrier for it; it is rarely on the invoice"
    ),
    "ENTITY_NAME_MISMATCH": Hint(
        US, "company or person differs from the carrier's record", "use the exact name on the CSR"
    ),
    "FOC_EXPIRED": Hint(US, "the agreed date passed without a port", "propose a new date"),
    "FOC_REJECTED": Hint(US, "the requested date was not accepted", "propose another date"),
    "LOCATION_MISMATCH": Hint(US, "service address differs from the carrier's record", "use the address on the CSR"),
    "LOA_ILLEGIBLE": Hint(US, "letter of authorisation cannot be read", "upload a readable LOA"),
    "LSR_PENDING": Hint(
        US, "another change is open at the losing carrier", "have it finished or cancelled by the losing carrier"
    ),
    "MAIN_BTN_PORTING": Hint(
        US, "a partial port includes the billing number", "port everything, or name a new billing number"
    ),
    "OSP_IRRESPONSIVE": Hint(TELNYX, "the losing carrier does not answer", "nothing to do: Telnyx asks again"),
    "OTHER": Hint(TELNYX, "no standard reason", "read the comments: Telnyx says what is needed"),
    "PASSCODE_PIN_INVALID": Hint(US, "PIN or passcode is wrong", "get the right PIN from the losing carrier"),
    "PHONE_NUMBER_HAS_SPECIAL_FEATURE": Hint(
        CARRIER, "a feature such as DSL is bound to the number", "have the feature removed by the losing carrier first"
    ),
    "PHONE_NUMBER_MISMATCH": Hint(US, "a number is not on that account", "correct the numbers or the account"),
    "PHONE_NUMBER_NOT_PORTABLE": Hint(
        CARRIER, "number is inactive, changing, or on a special plan", "ask the losing carrier what holds it"
    ),
    "PORT_TYPE_INCORRECT": Hint(US, "full versus partial port is wrong", "change the type of the port"),
    "PORTING_ORDER_SPLIT_REQUIRED": Hint(US, "the order has to be split", "split it and submit the parts apart"),
    "POSTAL_CODE_MISMATCH": Hint(US, "postal code differs from the carrier's record", "use the postal code on the CSR"),
    "RATE_CENTER_NOT_PORTABLE": Hint(TELNYX, "rate centre is not supported", "ask Telnyx whether it can be ported"),
    "SV_CONFLICT": Hint(TELNYX, "the number's record in the national database conflicts", "ask Telnyx support"),
    "SV_UNKNOWN_FAILURE": Hint(TELNYX, "the national database reported a failure", "ask Telnyx support"),
}

_OLD_NAMES = {  # of Telnyx's support articles, for what became these codes
    "AUTH_NAME_MISMATCH": "AUTH_PERSON_MISMATCH",
    "BUSINESS_NAME_MISMATCH": "ENTITY_NAME_MISMATCH",
    "SERVICE_ADDRESS_MISMATCH": "LOCATION_MISMATCH",
    "PENDING_ORDER": "LSR_PENDING",
    "PORTING_MAIN_BTN": "MAIN_BTN_PORTING",
    "LOSING_CARRIER_NO_RESPONSE": "OSP_IRRESPONSIVE",
    "TN_HAS_SPECIAL_FEATURE": "PHONE_NUMBER_HAS_SPECIAL_FEATURE",
    "TN_MISMATCH": "PHONE_NUMBER_MISMATCH",
    "TN_NOT_PORTABLE": "PHONE_NUMBER_NOT_PORTABLE",
    "REQUEST_INCORRECT": "PORT_TYPE_INCORRECT",
    "UNSUPPORTED_RATE_CENTER": "RATE_CENTER_NOT_PORTABLE",
}


def hint_for(code: str) -> Hint | None:
    """Return what we know about a code, or None."""
    return HINTS.get(_OLD_NAMES.get(code, code))


def explained(code: Code, types: Mapping[str, str]) -> Hint:
    """Return what a code means: the carrier's own words first, then ours, then the provider's list; and what to do."""
    name, said = code[0] or "", code[1]
    hint = hint_for(name) or Hint("", types.get(name) or "", "")
    return hint._replace(meaning=said) if said else hint


def reasons(codes: Sequence[Code], told: Told) -> str:
    """Return the carrier's reasons, as far as alerts may say them."""
    said = []
    for code, description in codes:
        own = description if told.settings.alert_details != "ids" else None
        meaning = explained((code, own), told.exception_types).meaning
        said.append(one_line(f"{code}: {meaning}" if meaning and not own else meaning or code or "", 300))
    return "; ".join(text for text in said if text)


def solution(codes: Sequence[Code]) -> Step | None:
    """Return what solves it and whose step that is, as far as the codes are known."""
    hints = [hint for code, _ in codes if (hint := hint_for(code or "")) is not None]
    if not hints:
        return None
    owners = list(dict.fromkeys(hint.owner for hint in hints))
    steps = "; ".join(dict.fromkeys(hint.step for hint in hints))
    owner = US if US in owners else owners[0]
    return owner, steps + (", then confirm again" if owner in (US, CARRIER) else "")
