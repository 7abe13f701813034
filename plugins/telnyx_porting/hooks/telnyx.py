"""The hook: an Airflow connection of type ``telnyx`` turned into a client, resolved late and once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

from telnyx_porting.client import AsyncTelnyxClient, SyncVerbs, TelnyxClient
from telnyx_porting.client.core import PUBLIC_API
from telnyx_porting.client.words import in_words
from telnyx_porting.compat import extra_of
from telnyx_porting.errors import SettingsError, TelnyxPortingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from airflow.sdk import Connection

    from telnyx_porting.settings import Settings

EXTRAS = ("timeout", "max_concurrency", "requests_per_second", "allow_insecure_http")
WHERE = {"key": "the field API key (password)", "host": "field host and port", "longer": "raise the extra timeout"}
TEST_WITHIN = 20.0  # seconds that the test of a connection may take, tries again included

Client = TypeVar("Client", AsyncTelnyxClient, TelnyxClient)


class TelnyxHook(SyncVerbs, BaseHook):
    """
    Talk to Telnyx's porting API through an Airflow connection. Has the verbs of ``TelnyxClient``.

    ::

        with TelnyxHook() as telnyx:
            for event in telnyx.iter_porting_events(created_at_gte=yesterday):
                ...

    The connection is read when the first call needs it, and once: a hook may be made anywhere. Its key is the
    connection's password; host (default: the public API), port and the extras ``timeout``, ``max_concurrency``,
    ``requests_per_second`` and ``allow_insecure_http`` are the only other fields that are read.

    :param telnyx_conn_id: connection of type ``telnyx``
    """

    conn_name_attr = "telnyx_conn_id"
    default_conn_name = "telnyx_default"
    conn_type = "telnyx"
    hook_name = "Telnyx"

    def __init__(self, telnyx_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.telnyx_conn_id = telnyx_conn_id
        self._make_client = lambda: self._build(AsyncTelnyxClient)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """
        What the connection says, as a client takes it. Not from an event loop: there, ``aclient()`` reads it.

        :raises SettingsError: when a field of it is impossible
        """
        connection = self.get_connection(self.telnyx_conn_id)
        return _arguments(connection, connection.extra_dejson)

    def get_client(self, *, requests_per_second: float | None = None, keep_free: float = 0.0) -> TelnyxClient:
        """
        Make a client for a ``with`` block.

        :param requests_per_second: a ceiling below the connection's own
        :param keep_free: share of the rate limit, as Telnyx reports it, to leave to others
        """
        return self._build(TelnyxClient, ceiling=requests_per_second, keep_free=keep_free)

    def get_client_within(self, settings: Settings) -> TelnyxClient:
        """Make a client that leaves room for other software, as the settings say."""
        return self.get_client(requests_per_second=settings.requests_per_second, keep_free=settings.keep_free)

    get_conn = get_client

    @asynccontextmanager
    async def aclient(self) -> AsyncIterator[AsyncTelnyxClient]:
        """Open an asynchronous client, as triggers need it."""
        if "arguments" not in self.__dict__:
            # Fills the slot of the cached property, whose own way would block the event loop.
            connection = await self.aget_connection(self.telnyx_conn_id)
            self.__dict__["arguments"] = _arguments(connection, await extra_of(connection))
        async with self._build(AsyncTelnyxClient) as client:
            yield client

    def _build(self, kind: Callable[..., Client], *, ceiling: float | None = None, keep_free: float = 0.0) -> Client:
        rates = [rate for rate in (ceiling, self.arguments["requests_per_second"]) if rate is not None]
        changed = {"requests_per_second": min(rates, default=None), "keep_free": keep_free}
        try:
            return kind(**{**self.arguments, **changed})
        except SettingsError as error:
            field = f"connection {self.telnyx_conn_id}: {error.field}"
            raise SettingsError(field, error.value, error.expected) from None

    def test_connection(self) -> tuple[bool, str]:
        """Make one cheap GET that needs what the product needs: the right to read port-in events."""

        async def count() -> tuple[str, int]:
            async with self.aclient() as client, asyncio.timeout(TEST_WITHIN):
                return client.base_url, await client.count_porting_events()

        try:
            _ = self.arguments
            base_url, events = asyncio.run(count())
        except (TelnyxPortingError, TimeoutError) as error:
            return False, in_words(error, **WHERE)
        return True, f"Telnyx answers at {base_url}: {events} port-in events."


def _arguments(connection: Connection, extra: dict[str, Any]) -> dict[str, Any]:
    """Read a connection; nothing but the fields named here ever reaches the client, which checks their values."""
    name = f"connection {connection.conn_id}"
    if unknown := sorted(set(extra) - set(EXTRAS)):
        raise SettingsError(f"{name}: extra", unknown[0], "only " + ", ".join(EXTRAS) + " are known")
    if not (key := (connection.password or "").strip()):
        raise SettingsError(f"{name}: password", "", "the Telnyx API key (v2) belongs into this field")
    timeout = _number(name, extra, "timeout", float)
    max_concurrency = _number(name, extra, "max_concurrency", int)
    return {
        "api_key": key,
        "base_url": _base_url(name, connection.host, connection.port),
        "timeout": 30.0 if timeout is None else timeout,
        "max_concurrency": 8 if max_concurrency is None else max_concurrency,
        "requests_per_second": _number(name, extra, "requests_per_second", float),
        "allow_insecure_http": _flag(name, extra, "allow_insecure_http"),
    }


def _base_url(name: str, host: str | None, port: int | None) -> str:
    """Build the API's base URL; a host alone is enough, and a port inside the URL wins over the port field."""
    if not host:
        return PUBLIC_API
    try:
        parts = urlsplit(host if "://" in host else f"https://{host}")
        given = parts.port
    except ValueError:
        raise SettingsError(f"{name}: host", host, f"a base URL such as {PUBLIC_API}, or empty for it") from None
    shown = "" if given or not port or port == {"http": 80, "https": 443}.get(parts.scheme) else f":{port}"
    return parts._replace(netloc=parts.netloc + shown, path=parts.path.rstrip("/") or "/v2").geturl()


def _number(name: str, extra: dict[str, Any], field: str, kind: type[int | float]) -> float | None:
    value = extra.get(field)
    if value is None or value == "":
        return None
    try:
        return kind(str(value))
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{name}: extra {field}", value, expected) from None


def _flag(name: str, extra: dict[str, Any], field: str) -> bool:
    value = extra.get(field)
    flags = {"": False, "none": False, "true": True, "false": False}
    if (flag := flags.get(str(value).lower())) is None:
        raise SettingsError(f"{name}: extra {field}", value, "true or false")
    return flag
