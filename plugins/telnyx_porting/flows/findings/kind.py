"""What a kind of finding is: what is true now, and everything that the rest of the watch asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from telnyx_porting.flows.findings.finding import Look, Row, Seen
    from telnyx_porting.settings import Settings
    from telnyx_porting.settings.calendar import Calendar

US, TELNYX, CARRIER = "us/customer", "Telnyx", "losing carrier"
PLATFORM, RECEIVERS = "whoever runs the watch", "whoever runs the receiving system"
COMMENT = "write a comment on the order, it reaches Telnyx's porting team"

Step = tuple[str, str]  # whose step is next, and which


@dataclass(frozen=True)
class Told:
    """One finding about which something is said, and what is known around it."""

    finding: Row
    detail: Any  # of the finding, as its kind types it; empty where an earlier occurrence is over
    order: Row | None
    is_over: bool
    settings: Settings
    now: datetime
    calendar: Calendar
    exception_types: Mapping[str, str]  # Telnyx's own descriptions of exception codes


@dataclass(frozen=True)
class Kind:
    """One kind of finding, or of the health findings those about some subjects.

    :param template: Jinja; owner, note and next step follow it. It may say lead, title, account, subject, label,
        numbers, status, severity, age, foc, comments and siblings, and what `words` gives.
    :param look: what is true now; None: whoever notices opens and clears it.
    :param title: what is over when it is; default the name.
    :param words: more for the template, as cleaned text; the detail may lack anything.
    :param inhibited: whether an open finding of the account (key -> severity) says it all already.
    :param subjects: of health findings the first words of the subject; empty: all that no other kind is about.
    :param quiet: names in the detail, or `severity`, whose change is no news: age, counts, what a backfill teaches.
    :param hangs_on: kinds whose findings it looks at; they stand before it.
    :param order_decides: whether the order, read again, may show that it is over.
    """

    name: str
    template: str
    next_step: Callable[[Told], Step]
    look: Callable[[Look], Iterable[Seen]] | None = None
    title: str = ""
    words: Callable[[Told], dict[str, Any]] = lambda told: {}
    inhibited: Callable[[Row, Mapping[str, str]], bool] = lambda finding, severities: False
    subjects: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()
    hangs_on: tuple[str, ...] = ()
    order_decides: bool = True
