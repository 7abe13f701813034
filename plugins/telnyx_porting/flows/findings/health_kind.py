"""What the kinds of findings about the watch itself share; each of them is about some subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from telnyx_porting.escaping import LONG, one_line
from telnyx_porting.flows.findings.finding import HEALTH, Look, Row, Seen
from telnyx_porting.flows.findings.kind import PLATFORM, Kind, Step, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    Inhibited = Callable[[Row, Mapping[str, str]], bool]

KEY_REFUSED, SETTINGS, NOT_SEALED = "health:key_refused", "health:settings", "health:nothing_sealed"
SEE_LOG = (
    PLATFORM,
    "see the log of the last run of porting_exception_alerts, and report it as a fault of the watch",
)
_TEMPLATE = """
{{ lead }}: the watch of {{ account }}: {{ text or subject }}{% if age != "0 min" %} ({{ age }}){% endif %}.
"""


class _Detail(TypedDict):
    text: str  # one sentence for people
    rows: NotRequired[int]  # how many it is about


def seen(subject: str, severity: str, since: datetime, text: str, rows: int | None = None) -> Seen:
    """Return something that is wrong with the watch."""
    detail: _Detail = {"text": text} if rows is None else {"text": text, "rows": rows}
    return Seen(HEALTH, subject, None, severity, since, detail)


def by(*parents: str) -> Inhibited:
    """Return the rule that any of these open findings says it all."""
    return lambda finding, severities: any(key in severities for key in parents)


_BY_KEY = by(KEY_REFUSED)  # most of it is unknown, or follows, as long as Telnyx refuses the key


def health_kind(
    steps: Mapping[str, Step],
    look: Callable[[Look], Iterator[Seen]] | None = None,
    inhibited: Inhibited = _BY_KEY,
) -> Kind:
    """Return the kind of some health findings.

    :param steps: by the first word of the subject.
    """
    return Kind(
        HEALTH,
        _TEMPLATE,
        lambda told: steps.get(told.finding["subject"].partition(":")[0], (PLATFORM, "")),
        look,
        words=_words,
        inhibited=inhibited,
        subjects=frozenset(steps),
        quiet=frozenset({"rows"}),
    )


def _words(told: Told) -> dict[str, Any]:
    return {"text": one_line(told.detail.get("text") or "", LONG).rstrip(".")}
