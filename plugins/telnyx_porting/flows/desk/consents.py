"""What a person agrees to who sends more than the watch would by itself, in words for a form."""

from __future__ import annotations

from telnyx_porting.ledger.states import Consent

CONSENT_WORDS = {
    Consent.ARRIVED.value: "have arrived already (sent again)",
    Consent.PENDING.value: "are not due yet, or cannot be judged",
    Consent.EMAIL_ONLY.value: "cause mails only",
    Consent.GIVEN_UP.value: "were given up",
    Consent.SUPERSEDED.value: "are superseded (the order has moved on)",
    Consent.DELETED.value: "are deletions",
    Consent.UNDETERMINED.value: "are undetermined (before the watch, or unclear)",
}
"""Also send events that ..."""
