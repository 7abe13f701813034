"""Preflight: is everything in place for the watch to work? Each line is good, or says what to do.

URLs found in data (subscriptions, orders) are shown, never fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from telnyx_porting.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    TelnyxError,
    TelnyxPortingError,
    WrongAccountError,
)
from telnyx_porting.escaping import LONG, address, one_line
from telnyx_porting.flows.account import Account, get_account, touch_account
from telnyx_porting.flows.alerts.channels import channels_of, get_channel
from telnyx_porting.flows.clock import SKEW, last_beat, read_clocks
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.kinds.health import ENOUGH, NOT_ALIVE
from telnyx_porting.flows.identity import AccountClient, accept
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import orders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

SUBSCRIPTION = "subscription"
_NO_SUBSCRIPTION = (
    "nobody is subscribed to port-in notifications: in the Telnyx portal, Account Settings > Notifications, add a"
    " setting Port In Notifications with a webhook channel"
)


@dataclass(frozen=True)
class Line:
    """One thing that was looked at."""

    ok: bool
    what: str
    todo: str = ""

    def __str__(self) -> str:
        return f"{'good ' if self.ok else 'TO DO'}  {self.what}" + (f": {self.todo}" if self.todo else "")


def preflight(account: Account, client: TelnyxClient) -> list[Line]:
    """Look at one account: whose key, endpoints, subscriptions, receiver, clock, ledger, settings, channels."""
    now = account.clock()
    lines = [_settings(account.settings), _ledger(account.ledger)]
    try:
        own = accept(account, client, pin=False)
    except WrongAccountError as error:
        lines.append(Line(False, "account", str(error)))
    except TelnyxError as error:
        lines.append(_no_answer(client.base_url, error))
    else:
        lines.append(_key(own, now))
        if lines[-1].ok:
            lines += [*_endpoints(own), *_subscriptions(own), _clock(own)]
    with account.ledger.read() as connection:
        lines += _own_urls(connection, account.id)
        lines += _receiver(connection, account.id, now)
        lines += _channels(connection, account.id, account.settings)
    return lines


def keep_lines(account: Account, lines: Sequence[Line]) -> None:
    """Keep what was found, for people who look later."""
    said = [[line.ok, one_line(line.what, LONG), one_line(line.todo, LONG)] for line in lines]
    with account.ledger.write() as connection:
        kept = {"at": account.clock().isoformat(), "lines": said}
        touch_account(account.ledger, connection, account.id, preflight=kept)


def kept_lines(connection: Connection, account: str) -> tuple[tuple[Line, ...], datetime | None]:
    """Return what was found when it last ran, and when that was; None: it has not run."""
    row = get_account(connection, account)
    if row is None or row["preflight"] is None:
        return (), None
    kept = row["preflight"]
    return tuple(Line(*line) for line in kept["lines"]), datetime.fromisoformat(kept["at"])


def _settings(settings: Settings) -> Line:
    if settings.problems:
        return Line(False, "settings", str(settings.problems[0]))
    return Line(True, "settings are valid")


def _ledger(ledger: Ledger) -> Line:
    try:
        ledger.ready()
        with ledger.write():
            pass
    except TelnyxPortingError as error:
        return Line(False, "ledger", str(error))
    where = repr(ledger).removeprefix("Ledger(").removesuffix(")")
    return Line(True, f"ledger {where} can be read and written")


def _key(client: AccountClient, now: datetime) -> Line:
    try:
        client.count_porting_events(created_at_gte=now - timedelta(days=1))
    except PermissionDeniedError:
        return Line(False, "API key", "it may not read port-in events: give the key that permission, or use another")
    except TelnyxError as error:
        return _no_answer(client.base_url, error)
    return Line(True, f"API key is accepted at {client.base_url}; port-in events can be read")


def _no_answer(base_url: str, error: TelnyxError) -> Line:
    if isinstance(error, AuthenticationError):
        return Line(False, "API key", "Telnyx refuses it: put a valid key (v2) into the connection's password")
    return Line(False, f"Telnyx API at {base_url}", str(error))


def _endpoints(client: AccountClient) -> Iterator[Line]:
    def first_order() -> object:
        return list(client.iter_porting_orders(page_size=1, limit=1))

    def first_delivery() -> object:
        return next(iter(client.iter_webhook_deliveries(status="failed")), None)

    yield _try("porting orders", "order sync and exceptions", first_order)
    yield _try("exception types", "descriptions of codes", client.list_exception_types)
    yield _try("webhook deliveries", "evidence of what was delivered", first_delivery)


def _try(what: str, needed_for: str, call: Callable[[], Any]) -> Line:
    try:
        call()
    except (PermissionDeniedError, NotFoundError) as error:
        todo = f"the key lacks the permission; needed for {needed_for} ({error})"
        return Line(False, f"{what} cannot be read", todo)
    except TelnyxError as error:
        return Line(False, f"{what} could not be read", f"{error}; needed for {needed_for}")
    return Line(True, f"{what} can be read")


def _subscriptions(client: AccountClient) -> Iterator[Line]:
    try:
        found = client.notification_subscriptions()
    except TelnyxError as error:
        yield Line(False, "notification settings could not be read", str(error))
        return
    active = [item for item in found if item.status == "enabled"]
    for item in active:
        to = address(item.destination or "(destination unknown)")
        yield Line(True, f"subscribed: {item.channel_type or 'unknown channel'} {to}")
    if not any(item.channel_type == "webhook" for item in active):
        yield Line(False, SUBSCRIPTION, _NO_SUBSCRIPTION)
    if len(active) < len(found):
        yield Line(True, f"{len(found) - len(active)} more subscriptions are not active (yet)")


def _clock(client: AccountClient) -> Line:
    offset = client.clock_offset
    if offset is None:
        return Line(True, "clock: Telnyx told no time")
    if abs(offset) > SKEW:
        off = f"{abs(offset).total_seconds():.0f} s"
        return Line(False, f"clock is {off} off Telnyx's", "set this machine's clock (NTP)")
    return Line(True, f"clock agrees with Telnyx's within {abs(offset).total_seconds():.1f} s")


def _own_urls(connection: Connection, account: str) -> list[Line]:
    query = (
        select(orders.c.webhook_url, func.count())
        .where(orders.c.account == account, orders.c.webhook_url.is_not(None))
        .group_by(orders.c.webhook_url)
        .order_by(func.count().desc())
        .limit(5)
    )
    rows = connection.execute(query).all()
    return [Line(True, f"{count} orders have a webhook URL of their own: {address(url)}") for url, count in rows]


def _receiver(connection: Connection, account: str, now: datetime) -> Iterator[Line]:
    feed = get_feed(connection, account, Feed.RECEIVER)
    beat = last_beat(feed, read_clocks(connection, account), now)
    if feed is None or beat is None:
        yield Line(True, "no receiver writes into this ledger; deliveries are the only evidence")
        return
    if now - beat >= NOT_ALIVE:
        yield Line(False, "receiver", f"it has not been alive since {beat:%Y-%m-%d %H:%M} UTC: start it")
    else:
        yield Line(True, "receiver is alive")
    if (feed["refused"] or 0) >= ENOUGH:
        yield Line(False, "receiver's keys", "signatures do not fit: give it the public key of this Telnyx account")
    elif feed["proved_at"] is None:
        yield Line(True, "receiver has not seen a webhook of this account yet")
    else:
        yield Line(True, "receiver's key fits: it has verified webhooks of this account")


def _channels(connection: Connection, account: str, settings: Settings) -> Iterator[Line]:
    for channel in channels_of(settings):
        met = get_channel(connection, account, channel.name)
        if met is not None and met["error"]:
            yield Line(False, f"channel {channel.name}", str(met["error"]))
        else:
            yield Line(True, f"channel {channel.name} is configured")
    if "mail" in settings.alert_channels and not settings.mail_to:
        yield Line(False, "channel mail", "set TELNYX_PORTING_MAIL_TO")
    for name in sorted(set(settings.alert_filters) - set(settings.alert_channels)):
        yield Line(False, f"filter for {name}", "no such channel in TELNYX_PORTING_ALERT_CHANNELS")
    if not settings.alert_channels:
        yield Line(False, "channels", "set TELNYX_PORTING_ALERT_CHANNELS; findings are kept, nobody is told")
