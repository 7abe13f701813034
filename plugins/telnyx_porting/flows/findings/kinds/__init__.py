"""The kinds of findings, a file each: what is true now, what is kept and said of it, who acts, what inhibits it."""

from __future__ import annotations

from telnyx_porting.flows.findings.kind import Kind
from telnyx_porting.flows.findings.kinds import exception, foc, given_up, health, overdue, question, stuck

KINDS: tuple[Kind, ...] = (
    exception.KIND,
    question.KIND,
    stuck.KIND,
    given_up.KIND,
    foc.KIND,  # looks at exceptions and questions
    overdue.KIND,
    *health.KINDS,  # looks at what failed before it
)
_BY_SUBJECT = {(kind.name, subject): kind for kind in KINDS for subject in kind.subjects or {""}}


def kind_of(name: str, subject: str) -> Kind:
    """Return the kind of a finding; one that only another version knows is mute, and never true."""
    found = _BY_SUBJECT.get((name, subject.partition(":")[0])) or _BY_SUBJECT.get((name, ""))
    return found or Kind(name, template="", next_step=lambda told: ("", ""), look=lambda look: ())
