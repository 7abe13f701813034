"""What a person can do about a call that failed."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from telnyx_porting.errors import (
    AuthenticationError,
    ConnectError,
    PermissionDeniedError,
    ProxyRefusedError,
    RequestTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def in_words(error: Exception, *, key: str, host: str, longer: str) -> str:
    """Return one or two sentences that say what to look at.

    :param key: where the API key stands, such as ``the variable TELNYX_API_KEY``
    :param host: where the host stands
    :param longer: how to wait longer, such as ``raise the extra timeout``
    """
    if isinstance(error, AuthenticationError):
        return f"401: Telnyx does not accept this API key. Put a valid v2 key into {key}."
    if isinstance(error, PermissionDeniedError):
        return "403: Telnyx knows this API key but does not let it read port-in events. Check its account and rights."
    if isinstance(error, ProxyRefusedError):
        return f"The proxy lets nobody through. {error}"
    if isinstance(error, (RequestTimeout, TimeoutError)):
        return f"No answer in time. Check host, proxy and firewall, or {longer}. {error}".strip()
    if isinstance(error, ConnectError):
        causes = list(_causes(error))
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            return f"TLS failed: the certificate or protocol of the host is not accepted. ({error})"
        if any(isinstance(cause, socket.gaierror) for cause in causes):
            return f"DNS failed: the host name cannot be resolved. Check {host}. ({error})"
        return f"No connection: nothing listens there, or it is blocked. Check {host}. ({error})"
    return str(error)


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
