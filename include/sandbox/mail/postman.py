"""Carries webhooks: POSTs with a deadline, few retries seconds apart, then the webhook is lost."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import httpx

from include.sandbox.mail import webhooks
from include.sandbox.world.model import Attempt, Delivery, Event, Fate, Json

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.sandbox.world.world import World

#: What a record says about a status that is no success.
_STATUS_ERRORS = {400: 75400, 404: 75404, 500: 75500}
_TIMED_OUT, _NO_NAME, _NO_CONNECTION, _BAD_CERTIFICATE = 75000, 75001, 75002, 75003
_BODY_KEPT = 10_000
#: Webhooks POSTed at the same time.
_AT_ONCE = 100


@cache
def _certificates() -> ssl.SSLContext:
    """Read the certificates that are trusted, once: it takes longer than a new world."""
    return httpx.create_ssl_context(trust_env=False)


@dataclass(slots=True)
class Rules:
    """How hard the provider tries."""

    deadline_s: float = 2.0
    retry_delays_s: list[float] = field(default_factory=lambda: [1.0, 2.0])


@dataclass(slots=True)
class Parcel:
    """One webhook for one destination."""

    event: Event
    part: int
    url: str
    said: Json
    republish: bool
    fate: Fate
    first_attempt: int
    delivery: Delivery


class Postman:
    """Delivers the notifications of a world over real sockets."""

    def __init__(self, world: World, rules: Rules, on_idle: Callable[[], None]) -> None:
        self.world = world
        self.rules = rules
        self.sent: deque[Json] = deque(maxlen=20_000)
        """Every POST that was written, newest last."""
        self.posted = 0
        self.succeeded = 0
        self.refused = 0
        # the deadline is for the destination, not for waiting behind other webhooks
        self._hands = asyncio.Semaphore(_AT_ONCE)
        self._held: list[Parcel] = []
        self._on_idle = on_idle
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids: dict[tuple[str, int, int], str] = {}
        self._client = httpx.AsyncClient(
            verify=_certificates(),
            trust_env=False,
            timeout=None,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=20),
            headers={"User-Agent": "telnyx-webhooks", "Accept": "*/*"},
        )
        world.notify = self.notify

    @property
    def in_flight(self) -> int:
        """Count the webhooks that are on their way or held back."""
        return len(self._tasks) + len(self._held)

    def notify(self, event: Event, republish: bool) -> None:
        """Send the notification of an event to whoever is subscribed now."""
        world = self.world
        fate = event.fate if event.fate and not republish else world.faults.fate(event, republish=republish)
        fate = fate or Fate()
        for address in world.mail_addresses():
            world.mails.append({"event_id": event.id, "to": address, "republish": republish})
        urls = world.webhook_urls(event, republish=republish)
        if not urls:
            return
        parts = webhooks.part_count(event, world.switches)
        notice = world.notice(event.id)
        if not republish:
            notice.parts = parts
        if fate.drop:
            return
        tries = notice.tries if republish and world.switches.republish_attempt == "continues" else 0
        for part in range(parts):
            for channel, url in enumerate(urls):
                webhook_id = self._webhook_id(event, part, notice.republished, channel)
                for _ in range(fate.copies):
                    self._hand_in(self._parcel(event, part, url, webhook_id, republish, fate, tries + 1))

    def release(self) -> None:
        """Send what is held back, last first, one after the other."""
        held, self._held = self._held, []
        before: asyncio.Task[None] | None = None
        for parcel in reversed(held):
            before = self._start(parcel, 0.0, before)

    async def idle(self) -> None:
        """Wait until what is on its way now has arrived or is lost; what is held back is released."""
        self.release()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def drop(self) -> None:
        """Drop everything that is on its way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Drop everything, for good."""
        await self.drop()
        await self._client.aclose()

    def _parcel(
        self, event: Event, part: int, url: str, webhook_id: str, republish: bool, fate: Fate, first: int
    ) -> Parcel:
        world, switches = self.world, self.world.switches
        notice = world.notice(event.id)
        occurred = event.occurred_us
        if republish and switches.republish_occurred_at == "now":
            occurred = world.clock.wall_us()
        said = webhooks.content(event, webhook_id, occurred, switches)
        notice.open += 1
        delivery = self._earlier(event, part, url) if republish else None
        if delivery is None:
            delivery = Delivery(
                id=world.ids.fresh("delivery"),
                event_id=event.id,
                event_type=event.type,
                part=part,
                url=url,
                webhook=said,
            )
        delivery.trying = True
        return Parcel(event, part, url, said, republish, fate, first, delivery)

    def _earlier(self, event: Event, part: int, url: str) -> Delivery | None:
        where = self.world.switches.republish_delivery
        if where == "new_record":
            return None
        for delivery in self.world.deliveries.values():
            if (delivery.event_id, delivery.part, delivery.url) == (event.id, part, url):
                delivery.unmoved_us = delivery.finished_us if where == "appended_unmoved" else None
                return delivery
        return None

    def _webhook_id(self, event: Event, part: int, republished: int, channel: int) -> str:
        switches = self.world.switches
        channel = channel if switches.channel_webhook_id == "own" else 0
        turn = republished if switches.republish_webhook_id == "new" else 0
        if switches.webhook_id == "event" and turn == 0:
            return event.id
        return self.world.ids.named(f"webhook {event.id} {part} {turn}" + (f" {channel}" if channel else ""))

    def _hand_in(self, parcel: Parcel) -> None:
        if parcel.fate.hold > 1:
            self._held.append(parcel)
            if len(self._held) >= parcel.fate.hold:
                self.release()
            return
        self._start(parcel, parcel.fate.delay_s)

    def _start(self, parcel: Parcel, delay_s: float, after: asyncio.Task[None] | None = None) -> asyncio.Task[None]:
        async def carry() -> None:
            if after is not None:
                await asyncio.wait([after])
            await self._carry(parcel, delay_s)

        task = asyncio.get_running_loop().create_task(carry())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._on_idle()

    async def _carry(self, parcel: Parcel, delay_s: float) -> None:
        notice = self.world.notice(parcel.event.id)
        try:
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            delays = self.rules.retry_delays_s
            for number in range(len(delays) + 1):
                async with self._hands:
                    attempt = await self._attempt(parcel, number)
                parcel.delivery.attempts.append(attempt)
                self.world.deliveries.setdefault(parcel.delivery.id, parcel.delivery)
                if attempt.ok:
                    (notice.again if parcel.republish else notice.first).add(parcel.part)
                    break
                if number < len(delays):
                    await asyncio.sleep(delays[number])
        finally:
            parcel.delivery.trying = False
            notice.open -= 1

    async def _attempt(self, parcel: Parcel, number: int) -> Attempt:
        world = self.world
        raw = webhooks.body(
            parcel.said, parcel.first_attempt + number, parcel.url, world.organization_id, world.switches
        )
        started = world.clock.wall_us()
        headers = {"Content-Type": "application/json"}
        headers |= webhooks.signature_headers(world.signing_key, raw, started // 1_000_000)
        world.notice(parcel.event.id).tries += 1
        attempt = Attempt(started, started, False, [], [("Accept", "*/*"), *headers.items()])
        if number < parcel.fate.fail:
            _fail_by_itself(attempt, parcel.fate.error)
            return attempt
        try:
            async with asyncio.timeout(self.rules.deadline_s):
                response = await self._client.post(parcel.url, content=raw, headers=headers)
        except (TimeoutError, httpx.TimeoutException):
            attempt.errors = [_TIMED_OUT]
        except httpx.HTTPError as error:
            attempt.errors = [_connection_error(error)]
        except (httpx.InvalidURL, ValueError):
            attempt.errors = [_NO_NAME]
        else:
            attempt.status = response.status_code
            attempt.response_headers = list(response.headers.items())
            attempt.body = response.text[:_BODY_KEPT]
            attempt.ok = 200 <= response.status_code < 300
            attempt.errors = [] if attempt.ok else [_status_error(response.status_code)]
        attempt.finished_us = world.clock.wall_us()
        self.posted += 1
        self.succeeded += attempt.ok
        self.sent.append(
            {
                "event_id": parcel.event.id,
                "event_type": parcel.event.type,
                "part": parcel.part,
                "url": parcel.url,
                "attempt": parcel.first_attempt + number,
                "republish": parcel.republish,
                "status": attempt.status,
                "headers": headers,
                "body": raw.decode(),
                "at_us": started,
            }
        )
        return attempt


def _fail_by_itself(attempt: Attempt, error: str) -> None:
    if error == "503":
        attempt.status, attempt.errors = 503, [75599]
        attempt.response_headers, attempt.body = [("Content-Type", "text/plain")], "maintenance"
        attempt.finished_us += 30_000
    elif error == "timeout":
        attempt.errors = [_TIMED_OUT]
        attempt.finished_us += 2_000_000
    else:
        attempt.errors = [_NO_CONNECTION]
        attempt.finished_us += 5_000


def _connection_error(error: httpx.HTTPError) -> int:
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, ssl.SSLError):
            return _BAD_CERTIFICATE
        reason = reason.__cause__ or reason.__context__
    if "Name or service" in str(error) or "name resolution" in str(error) or "nodename" in str(error):
        return _NO_NAME
    return _NO_CONNECTION


def _status_error(status: int) -> int:
    if status < 400:
        return 75300
    return _STATUS_ERRORS.get(status, 75499 if status < 500 else 75599)
