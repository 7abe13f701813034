"""Lives of orders as lists of steps; each has as many events as the others, so that a history can be computed."""

from __future__ import annotations

from typing import NamedTuple

STEPS = 12


class Step(NamedTuple):
    """One event in the life of an order."""

    kind: str
    """``status``, ``comment``, ``loa``, ``token``, ``messaging`` or ``deleted``."""
    value: str = ""
    codes: tuple[str, ...] = ()


def _status(value: str, *codes: str) -> Step:
    return Step("status", value, codes)


def _comment(body: str, user_type: str = "admin") -> Step:
    return Step("comment", f"{user_type}|{body}")


def _messaging(value: str) -> Step:
    return Step("messaging", value)


_LOA = Step("loa")
_TOKEN = Step("token")

SMOOTH = (
    _status("in-process"),
    _LOA,
    _status("submitted"),
    _comment("Sent to the losing carrier.", "system"),
    _comment("Please confirm the date.", "user"),
    _status("foc-date-confirmed"),
    _comment("The date is confirmed."),
    _messaging("pending"),
    _status("ported"),
    _messaging("activating"),
    _messaging("ported"),
    _comment("All numbers are live.", "system"),
)
REJECTED = (
    _status("in-process"),
    _status("submitted"),
    _status("exception", "POSTAL_CODE_MISMATCH"),
    _comment("Please send the last invoice."),
    _LOA,
    _status("submitted"),
    _comment("Sent again.", "system"),
    _status("foc-date-confirmed"),
    _messaging("pending"),
    _status("ported"),
    _messaging("activating"),
    _messaging("ported"),
)
REJECTED_TWICE = (
    _status("in-process"),
    _status("submitted"),
    _status("exception", "ENTITY_NAME_MISMATCH", "LOCATION_MISMATCH"),
    _comment("Name and address differ."),
    _status("submitted"),
    _status("exception", "PASSCODE_PIN_INVALID"),
    _comment("Ask for the right PIN."),
    _TOKEN,
    _status("submitted"),
    _status("foc-date-confirmed"),
    _status("ported"),
    _comment("Done.", "system"),
)
GIVEN_UP = (
    _status("in-process"),
    _LOA,
    _status("submitted"),
    _status("exception", "PHONE_NUMBER_NOT_PORTABLE"),
    _comment("The number is inactive."),
    _comment("Can it be activated?", "user"),
    _comment("No."),
    _comment("Then please cancel.", "user"),
    _status("cancel-pending"),
    _TOKEN,
    _status("cancelled"),
    _comment("Cancelled.", "system"),
)
SLIPPED = (
    _status("in-process"),
    _status("submitted"),
    _status("foc-date-confirmed"),
    _messaging("pending"),
    _status("exception", "FOC_EXPIRED"),
    _comment("The date has passed."),
    _status("submitted"),
    _status("foc-date-confirmed"),
    _status("ported"),
    _messaging("activating"),
    _messaging("exception"),
    _messaging("ported"),
)
FORGOTTEN_DRAFT = (
    _LOA,
    _TOKEN,
    _comment("Which invoice?", "user"),
    _LOA,
    _TOKEN,
    _comment("This one.", "user"),
    _LOA,
    _comment("Wait for the new one.", "user"),
    _TOKEN,
    _LOA,
    _comment("Not needed.", "user"),
    Step("deleted"),
)

#: Drawn evenly, so the smooth life is the usual one.
STORIES = (SMOOTH, SMOOTH, SMOOTH, REJECTED, REJECTED_TWICE, GIVEN_UP, SLIPPED, FORGOTTEN_DRAFT)
