"""What is wrong with the watch itself: what the ledger shows of it, and what is opened by who notices it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from sqlalchemy import case, func, select

from telnyx_porting.escaping import LONG, one_line
from telnyx_porting.flows.account import watched_since
from telnyx_porting.flows.clock import clock_trouble, complete_to, kept_offset, last_beat, read_clocks
from telnyx_porting.flows.deliveries.consumer import Record, find_record, kept_record
from telnyx_porting.flows.events.odd import odd_of
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.kind import HEALTH, PLATFORM, RECEIVERS, Kind, Look, Row, Seen, Step, Told
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import deliveries, feeds, plans
from telnyx_porting.settings.values import CRITICAL, HIGH, LOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Inhibited = Callable[[Row, Mapping[str, str]], bool]

NOT_SEALED = timedelta(minutes=30)
APPROVAL_WAITS = timedelta(hours=1)
FAILING_FOR = timedelta(minutes=30)
NOT_ALIVE = timedelta(minutes=5)
ENOUGH = 5  # failed deliveries, or refused signatures, that are no accident any more
TOLD_FOR = timedelta(days=1)  # that something else decides now
_KEY_REFUSED, _SETTINGS, _NOTHING_SEALED = "health:key_refused", "health:settings", "health:nothing_sealed"
_FAULT = (PLATFORM, "see the log of the last run of porting_exception_alerts, and report it as a fault of the watch")
_APPROVE = (PLATFORM, "approve or reject it: on its page under Plans of the console, or in Airflow, Required actions")
_TEMPLATE = """
{{ lead }}: the watch of {{ account }}: {{ text or subject }}{% if age != "0 min" %} ({{ age }}){% endif %}.
"""


class _Detail(TypedDict):
    text: str  # one sentence for people
    rows: NotRequired[int]  # how many it is about


def _seen(subject: str, severity: str, since: datetime, text: str, rows: int | None = None) -> Seen:
    detail: _Detail = {"text": text} if rows is None else {"text": text, "rows": rows}
    return Seen(HEALTH, subject, None, severity, since, detail)


def _nothing_sealed(look: Look) -> Iterator[Seen]:
    """The events could not be read completely for a while."""
    last = complete_to(look.connection, look.account) or watched_since(look.connection, look.account)
    pause = max(NOT_SEALED, 3 * look.settings.scan_every) + look.settings.settle
    if last is not None and look.now - last >= pause:
        text = "the events could not be read completely for a while: what is wrong now may not be seen"
        yield _seen("nothing_sealed", CRITICAL, last + pause, text)


def _rate(look: Look) -> Iterator[Seen]:
    """Other software uses up the rate limit of the account."""
    feed = get_feed(look.connection, look.account, Feed.EVENTS)
    if feed is None:
        return
    limit = feed["rate_limit"] or {}
    total, left = limit.get("limit"), limit.get("remaining")
    if isinstance(total, int) and isinstance(left, int) and total >= 10 and left * 10 < total:
        text = "other software uses up nearly all of the rate limit of this Telnyx account; the watch is slow"
        yield _seen("rate", LOW, feed["checked_at"] or look.now, text)


def _signatures(look: Look) -> Iterator[Seen]:
    """The receiver refuses webhooks because their signature does not fit."""
    receiver = get_feed(look.connection, look.account, Feed.RECEIVER)
    skewed = clock_trouble(kept_offset(receiver))  # told as such, by who is told the time by Telnyx
    if receiver is not None and not skewed and (receiver["refused"] or 0) >= ENOUGH:
        text = "webhooks are refused because their signature does not fit: the public key may have changed"
        yield _seen("signatures", HIGH, receiver["proved_at"] or receiver["checked_at"] or look.now, text)


def _approval(look: Look) -> Iterator[Seen]:
    """A plan of missed notifications waits for somebody who approves it."""
    query = select(func.min(plans.c.created_at)).where(
        plans.c.account == look.account, plans.c.closed_at.is_(None), plans.c.approved_at.is_(None)
    )
    oldest = look.connection.execute(query).scalar()
    if oldest is not None and look.settings.republish_mode != "off" and look.now - oldest >= APPROVAL_WAITS:
        text = "a plan of missed notifications waits for approval in porting_republish"
        yield _seen("approval", HIGH, oldest + APPROVAL_WAITS, text)


def _consumer(look: Look) -> Iterator[Seen]:
    """The consumer of record is down: our receiver, or whatever else takes the notifications."""
    record = find_record(look.connection, look.account, look.settings, look.now)
    yield from _silent(look, record)
    failed = func.sum(case((deliveries.c.ok, 0), else_=1))
    query = select(
        func.count().label("all"), failed.label("failed"), func.min(deliveries.c.stored_at).label("since")
    ).where(
        deliveries.c.account == look.account,
        deliveries.c.source == Feed.DELIVERIES,
        deliveries.c.signed_at >= read_clocks(look.connection, look.account).to_provider(look.now - FAILING_FOR),
    )
    if record is not None and record.source == Feed.DELIVERIES:
        query = query.where(*record.here)
    row = look.connection.execute(query).one()
    if row.failed is not None and row.all == row.failed and row.all >= ENOUGH:
        text = "every notification of the last half hour failed at its destination: the consumer seems to be down"
        yield _seen("consumer", CRITICAL, row.since, text)


def _silent(look: Look, record: Record | None) -> Iterator[Seen]:
    """Yield a receiver that is the consumer of record and has no heartbeat."""
    feed = get_feed(look.connection, look.account, Feed.RECEIVER)
    beat = last_beat(feed, read_clocks(look.connection, look.account), look.now)
    if record is None or record.source != Feed.RECEIVER or beat is None or clock_trouble(kept_offset(feed)):
        return
    if look.now - beat >= NOT_ALIVE:
        text = "the receiver is not running: webhooks are lost, and will have to be republished"
        yield _seen("receiver", CRITICAL, beat + NOT_ALIVE, text)


def _record(look: Look) -> Iterator[Seen]:
    """Something else decides now whether notifications arrive."""
    kept = kept_record(look.connection, look.account)
    if kept is None or "before" not in kept:
        return
    since = datetime.fromisoformat(kept["since"])
    if look.now - since < TOLD_FOR:
        text = (
            f"{kept['name']} decides now whether notifications arrived, no longer {kept['before']}; what was missed"
            " before stays missed. Set consumer_of_record if another should decide"
        )
        yield _seen("record", HIGH, since, text)


_HOLDS = {
    Feed.EVENTS: "Telnyx's list of events holds",
    Feed.ORDERS: "Telnyx's list of orders holds",
    Feed.DELIVERIES: "Telnyx's delivery records hold",
    Feed.RECEIVER: "the receiver's webhooks hold",
}


def _odd(look: Look) -> Iterator[Seen]:
    """A feed holds rows that are not as they are meant."""
    query = select(feeds).where(feeds.c.account == look.account, feeds.c.odd.is_not(None)).order_by(feeds.c.source)
    for feed in look.connection.execute(query).mappings().all():
        if odd := odd_of(feed, look.now):
            what, (since, _) = next(iter(odd.items()))
            source = feed["source"]
            holds = _HOLDS.get(source, f"{source} holds")
            said = f"{holds} what cannot be read as it is meant, for example {what}"
            text = f"{said}; everything else is stored and judged"
            yield _seen(f"odd:{source}", HIGH if source == Feed.EVENTS else LOW, since, text, len(odd))


def _unjudged(look: Look) -> Iterator[Seen]:
    """A kind failed in this very look, at some orders or as a whole."""
    for kind in sorted({kind for kind, _ in look.failed}):
        failed = {order_id: why for (name, order_id), why in look.failed.items() if name == kind}
        name = f"findings of the kind {kind}"
        if None in failed:
            text = f"{name} could not be looked for ({failed[None]}): what was open stays open, what is new is not seen"
        else:
            first = min(failed, key=str)
            why = f"{failed[first]}, for example at {first}"
            text = f"{name} could not be judged for every order ({why}); all others are"
        yield _seen(f"look:{kind}", HIGH, look.now, text, len(failed))


_STEPS: dict[str, Step] = {  # by the first word of the subject
    "nothing_sealed": (PLATFORM, "look at the last runs of porting_scan, and at `python -m telnyx_porting status`"),
    "rate": (PLATFORM, "find the other software that uses this account, or ask Telnyx for a higher limit"),
    "signatures": (PLATFORM, "give the receiver the public key that Telnyx's portal shows for this account"),
    "approval": _APPROVE,
    "consumer": (RECEIVERS, "bring it back; what was missed is planned for republishing by itself"),
    "receiver": (PLATFORM, "start it: python -m telnyx_porting.web.receiver"),
    "record": (PLATFORM, "nothing, if that is right; else set TELNYX_PORTING_CONSUMER_OF_RECORD"),
    "odd": (
        PLATFORM,
        "ask whose rows they are (Telnyx support; of a table of yours who fills it); nothing waits for it",
    ),
    "look": _FAULT,
    # opened with `health`, and closed with `clear`
    "key_refused": (PLATFORM, "put a valid API key into the password of this connection; nothing is read until then"),
    "settings": (PLATFORM, "correct this variable; the tasks of this account stand still until then"),
    "approval_asked": _APPROVE,
    "consumer_of_record": (PLATFORM, "choose one; until then nothing is called missed and nothing is resent"),
    "evidence": (PLATFORM, "check the subscription's URL and the receiver's key; nothing is resent meanwhile"),
    "evidence_table": (PLATFORM, "correct evidence_query (docs/operations.md); nothing new is called missed meanwhile"),
    "clock_skew": (PLATFORM, "set this machine's clock (NTP)"),
    "channel": (PLATFORM, "repair the channel's Airflow connection; what waits is sent then"),
    "dag": (PLATFORM, "open the log of that run in Airflow"),
    "subscription": (PLATFORM, "add it in the Telnyx portal: Account Settings > Notifications, Port In Notifications"),
    "preflight": (PLATFORM, "do that, then `python -m telnyx_porting preflight` shows whether it is good"),
    "republish_halted": (RECEIVERS, "repair it; the next look makes a new plan, and no try is counted"),
    "not_arrived": (RECEIVERS, "look at the plan's report, and at why it takes none"),
    "audit": (PLATFORM, "read the reason; if it stays, ask Telnyx support for the events of that time"),
    "horizon": ("nobody", "nothing to do"),
    "wording": _FAULT,
}
_WITHOUT_KEY = frozenset({"key_refused", "settings", "approval_asked", "channel", "consumer_of_record"})
"""Has nothing to do with the key of the account: a channel that fails, a plan that waits ..."""


def _inhibited(finding: Row, severities: Mapping[str, str]) -> bool:
    head, _, rest = finding["subject"].partition(":")
    if head in _WITHOUT_KEY:
        return False
    parents = {_KEY_REFUSED}
    if head == "dag":
        parents.add(_SETTINGS)
    if head == "dag" and rest.startswith("porting_scan"):
        parents.add(_NOTHING_SEALED)
    return not parents.isdisjoint(severities)


def _by(*parents: str) -> Inhibited:
    """Return the rule that any of these open findings says it all."""
    return lambda finding, severities: any(key in severities for key in parents)


_BY_KEY = _by(_KEY_REFUSED)  # most of it is unknown, or follows, as long as Telnyx refuses the key


def _kind(look: Callable[[Look], Iterator[Seen]] | None, *subjects: str, inhibited: Inhibited = _BY_KEY) -> Kind:
    """Return the kind of the health findings about some subjects; of none: of all that no other is about."""
    return Kind(
        HEALTH,
        _TEMPLATE,
        lambda told: _STEPS.get(told.finding["subject"].partition(":")[0], (PLATFORM, "")),
        look,
        words=_words,
        inhibited=inhibited,
        subjects=frozenset(subjects),
        quiet=frozenset({"rows"}),
    )


def _words(told: Told) -> dict[str, Any]:
    return {"text": one_line(told.detail.get("text") or "", LONG).rstrip(".")}


KINDS = (
    _kind(_nothing_sealed, "nothing_sealed", inhibited=_by(_SETTINGS, _KEY_REFUSED)),
    _kind(_rate, "rate"),
    _kind(_signatures, "signatures"),
    _kind(_approval, "approval", inhibited=_by("health:approval_asked")),
    _kind(_consumer, "consumer", "receiver", inhibited=_by()),  # nothing else says it
    _kind(_record, "record"),
    _kind(_odd, "odd"),
    _kind(None, inhibited=_inhibited),  # whatever people, or other parts of the watch, notice
    _kind(_unjudged, "look"),  # behind all other kinds
)
