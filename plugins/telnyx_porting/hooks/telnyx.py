"""The hook: an Airflow connection of type ``telnyx`` turned into a client, resolved late and once."""

from __future__ import annotations

import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

from telnyx_porting.client import AsyncTelnyxClient, TelnyxClient
from telnyx_porting.errors import (
    AuthenticationError,
    ConnectError,
    PermissionDeniedError,
    RequestTimeout,
    SettingsError,
    TelnyxPortingError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from airflow.sdk import Connection

PUBLIC_API = "https://api.telnyx.com/v2"
EXTRAS = ("timeout", "max_concurrency", "requests_per_second", "allow_insecure_http")


@dataclass(frozen=True)
class ClientOptions:
    """What a connection says, checked. The key stays out of ``repr``."""

    api_key: str
    base_url: str
    timeout: float
    max_concurrency: int
    requests_per_second: float | None
    allow_insecure_http: bool

    def __repr__(self) -> str:
        return f"ClientOptions(base_url={self.base_url!r}, api_key=***)"

    @classmethod
    def of(cls, connection: Connection, extra: dict[str, Any]) -> ClientOptions:
        """
        Read a connection; nothing but the fields named here ever reaches the client.

        :param connection: type ``telnyx``, key in the password
        :param extra: its extra, decoded
        :raises SettingsError: naming the connection's field, its value and what would be right
        """
        name = f"connection {connection.conn_id}"
        if unknown := sorted(set(extra) - set(EXTRAS)):
            raise SettingsError(f"{name}: extra", unknown[0], "only " + ", ".join(EXTRAS) + " are known")
        if not (key := (connection.password or "").strip()):
            raise SettingsError(f"{name}: password", "", "the Telnyx API key (v2) belongs into this field")
        return cls(
            api_key=key,
            base_url=_base_url(name, connection.host, connection.port),
            timeout=_number(name, extra, "timeout", float, 30.0),
            max_concurrency=_number(name, extra, "max_concurrency", int, 8),
            requests_per_second=_number(name, extra, "requests_per_second", float, None),
            allow_insecure_http=_flag(name, extra, "allow_insecure_http"),
        )


def _base_url(name: str, host: str | None, port: int | None) -> str:
    """Build the API's base URL; a host alone is enough, and a port inside the URL wins over the port field."""
    if not host:
        return PUBLIC_API
    parts = urlsplit(host if "://" in host else f"https://{host}")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise SettingsError(f"{name}: host", host, f"a base URL such as {PUBLIC_API}, or empty for it")
    try:
        given = parts.port
    except ValueError:
        raise SettingsError(f"{name}: host", host, "a base URL with a port from 1 to 65535") from None
    usual = {"http": 80, "https": 443}[parts.scheme]
    shown = "" if given or not port or port == usual else f":{port}"
    return f"{parts.scheme}://{parts.netloc}{shown}{parts.path.rstrip('/') or '/v2'}"


def _number(name: str, extra: dict[str, Any], field: str, kind: type[int | float], default: float | None) -> Any:
    value = extra.get(field)
    if value is None or value == "":
        return default
    try:
        number = kind(str(value))
    except ValueError:
        number = 0
    if not 0 < number < 1_000_000:
        expected = "a whole number of at least 1" if kind is int else "a number greater than 0"
        raise SettingsError(f"{name}: extra {field}", value, expected)
    return number


def _flag(name: str, extra: dict[str, Any], field: str) -> bool:
    value = extra.get(field)
    if value in (None, ""):
        return False
    words = {"true": True, "false": False}
    if (flag := words.get(str(value).lower())) is None:
        raise SettingsError(f"{name}: extra {field}", value, "true or false")
    return flag


class TelnyxHook(BaseHook):
    """
    Talk to Telnyx's porting API through an Airflow connection.

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

    @cached_property
    def options(self) -> ClientOptions:
        """
        The connection, read and checked. Not from an event loop: there, ``aclient()`` reads it.

        :raises SettingsError: when a field of it is impossible
        """
        connection = self.get_connection(self.telnyx_conn_id)
        return ClientOptions.of(connection, connection.extra_dejson)

    def get_client(self, *, requests_per_second: float | None = None, keep_free: float = 0.0) -> TelnyxClient:
        """
        Make a client for a ``with`` block.

        :param requests_per_second: ceiling for background work; the connection's own, if set, is a ceiling too
        :param keep_free: share of the provider's remaining limit left to other software, 0 to 0.9
        """
        rates = [rate for rate in (requests_per_second, self.options.requests_per_second) if rate]
        limits = {"requests_per_second": min(rates, default=None), "keep_free": keep_free}
        return TelnyxClient(**vars(self.options) | limits)

    get_conn = get_client

    @asynccontextmanager
    async def aclient(self) -> AsyncIterator[AsyncTelnyxClient]:
        """Open an asynchronous client, as triggers need it."""
        if "options" not in self.__dict__:
            # Fills the slot of the cached property, whose own way would block the event loop.
            connection = await self.aget_connection(self.telnyx_conn_id)
            self.__dict__["options"] = ClientOptions.of(connection, await connection.aextra_dejson())
        async with AsyncTelnyxClient(**self._arguments()) as client:
            yield client

    def _arguments(self, ceiling: float | None = None) -> dict[str, Any]:
        rates = [rate for rate in (ceiling, self.options.requests_per_second) if rate is not None]
        return {**vars(self.options), "requests_per_second": min(rates, default=None)}

    def test_connection(self) -> tuple[bool, str]:
        """Make one cheap GET that needs what the product needs: the right to read port-in events."""
        try:
            with self.get_client() as client:
                events = client.count_porting_events()
        except TelnyxPortingError as error:
            return False, _in_words(error)
        return True, f"Telnyx answers at {self.options.base_url}: {events} port-in events."


def _in_words(error: TelnyxPortingError) -> str:
    """Say what a person can do about it."""
    if isinstance(error, AuthenticationError):
        return "401: Telnyx does not accept this API key. Put a valid v2 key into the field API key (password)."
    if isinstance(error, PermissionDeniedError):
        return "403: Telnyx knows this API key but does not let it read port-in events. Check its account and rights."
    if isinstance(error, RequestTimeout):
        return f"No answer in time. Check host, proxy and firewall, or raise the extra timeout. ({error})"
    if isinstance(error, ConnectError):
        causes = list(_causes(error))
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            return f"TLS failed: the certificate or protocol of the host is not accepted. ({error})"
        if any(isinstance(cause, socket.gaierror) for cause in causes):
            return f"DNS failed: the host name cannot be resolved. Check the field host. ({error})"
        return f"No connection: nothing listens there, or it is blocked. Check host and port. ({error})"
    return str(error)


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
