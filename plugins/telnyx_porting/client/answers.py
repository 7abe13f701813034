"""Reading answers: errors from anything that is not 2xx, and the two envelopes of what is."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from telnyx_porting.client.pacer import retry_after_seconds
from telnyx_porting.client.windows import Page
from telnyx_porting.errors import (
    REFUSED_SECRETS,
    AuthenticationError,
    ConnectError,
    EnvelopeError,
    InvalidRequestError,
    NotFoundError,
    NotJsonError,
    PermissionDeniedError,
    ProxyRefusedError,
    RateLimitedError,
    ServerError,
    StatusError,
    TelnyxError,
    TransportError,
)
from telnyx_porting.models.reading import dict_of, items_of, load_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An answer; errors are made of those that are not 2xx.

    :param path: what was asked for, without query
    :param headers: case-insensitive
    :param date: its ``Date``, None when not sent
    """

    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    date: datetime | None

    @property
    def request_id(self) -> str | None:
        return self.headers.get("x-request-id")

    @property
    def about(self) -> dict[str, Any]:
        """What an error about this answer says."""
        return {"path": self.path, "status": self.status, "request_id": self.request_id}


def status_error(
    method: str, path: str, status: int, headers: Mapping[str, str], body: bytes, now: float
) -> TelnyxError:
    """
    Make the error of an answer other than 2xx; its body may be anything.

    Branches on the status alone: Telnyx's codes are reused between products.

    :param now: our clock, seconds since the epoch
    """
    code, title, parameter = _said(body)
    about: dict[str, Any] = {
        "method": method,
        "path": path,
        "status": status,
        "code": code,
        "title": title,
        "request_id": _short(headers.get("x-request-id")),
        "parameter": parameter,
    }
    kind, words = _MEANINGS.get(status, (StatusError, "refused"))
    if status == 429:
        about["retry_after"] = retry_after_seconds(headers, now)
    elif status >= 500:
        kind, words = ServerError, "Telnyx failed"
    elif 300 <= status < 400:
        words = "a redirect, which is not followed"
    elif kind is StatusError:
        # A 408 or 409 may come after the fact; other refusals do not.
        about["not_processed"] = 400 <= status < 500 and status not in (408, 409)
    return kind(f"{status}: {words}", **about)


_MEANINGS: dict[int, tuple[type[TelnyxError], str]] = {
    400: (InvalidRequestError, "the request is refused"),
    401: (AuthenticationError, "the API key is not accepted"),
    403: (PermissionDeniedError, "the API key may not do this"),
    404: (NotFoundError, "not found"),
    407: (ProxyRefusedError, "the proxy refused the user; look at HTTPS_PROXY"),
    422: (InvalidRequestError, "the request is refused"),
    429: (RateLimitedError, "too many requests"),
}
_BY_PROXY = {status: f"{status}: the proxy refused the user; look at HTTPS_PROXY" for status in (401, 407)}
_BY_PROXY[403] = "403: the proxy refused to connect; ask who runs it"


def proxy_error(error: Exception, **about: Any) -> ConnectError:
    """
    Make the error of a proxy that lets nobody through.

    :param error: a transport's; only its text holds the proxy's answer, such as "407 Proxy Authentication Required"
    """
    status = re.match(r"\d{3}\b", str(error))
    if status and (reason := _BY_PROXY.get(int(status[0]))):
        return ProxyRefusedError(reason, **about)
    return ConnectError(f"no connection: the proxy answers {status[0] if status else 'something else'}", **about)


def worth_another_get(error: TelnyxError) -> bool:
    if isinstance(error, StatusError):
        return isinstance(error, (ServerError, RateLimitedError)) or error.status in (408, 425)
    # A body cut short on its way reads as not JSON.
    return isinstance(error, (TransportError, NotJsonError)) and not isinstance(error, REFUSED_SECRETS)


def worth_another_post(error: TelnyxError) -> bool:
    """Tell whether a POST that failed so certainly had no effect, and may succeed."""
    return isinstance(error, (ConnectError, RateLimitedError)) and not isinstance(error, REFUSED_SECRETS)


def _said(body: bytes) -> tuple[str | None, str | None, str | None]:
    """Read code, title and parameter of ``{"errors": [...]}``; from anything else, nothing."""
    try:
        document = load_json(body)
    except ValueError:
        return None, None, None
    first = dict_of(next(iter(items_of(dict_of(document).get("errors"))), None))
    source = dict_of(first.get("source"))
    where = source.get("parameter") or source.get("pointer")
    return _short(first.get("code")), _short(first.get("title")), _short(where)


def _short(value: object) -> str | None:
    """Keep a word of theirs on one line and short."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    return "".join(character if character.isprintable() else " " for character in value[:120])


def decode_json(answer: Answer) -> Any:
    """
    Decode a body.

    :raises NotJsonError: when it is empty, truncated or something else
    """
    try:
        return load_json(answer.body)
    except ValueError:
        what = "not JSON" if answer.body.strip() else "empty"
        raise NotJsonError(f"the body is {what}", **answer.about) from None


def read_one(answer: Answer, parse: Callable[[dict[str, Any]], T]) -> T:
    """
    Read ``{"data": {...}}``.

    :raises NotJsonError: when it is not JSON
    :raises EnvelopeError: when it is something else
    """
    data = dict_of(decode_json(answer)).get("data")
    if not isinstance(data, dict):
        raise EnvelopeError("the answer holds no object data", **answer.about)
    try:
        return parse(data)
    except ValueError as error:
        raise EnvelopeError(f"data is {error}", **answer.about) from None


def read_page(answer: Answer, parse: Callable[[dict[str, Any]], T]) -> Page[T]:
    """
    Read ``{"data": [...], "meta": {...}}``; ``meta`` may be missing in part or whole.

    A row that cannot be read keeps no other from being read; it is named in ``unread``.

    :raises NotJsonError: when it is not JSON
    :raises EnvelopeError: when it is something else
    """
    document = dict_of(decode_json(answer))
    data = document.get("data")
    if not isinstance(data, list):
        raise EnvelopeError("the answer holds no list data", **answer.about)
    unread: list[str] = []
    try:
        rows = [parse(raw) for raw in data]
    except Exception:
        rows, unread = _row_by_row(data, parse)
    meta = dict_of(document.get("meta"))
    return Page(
        rows,
        total=_count(meta.get("total_results")),
        pages=_count(meta.get("total_pages")),
        size=_count(meta.get("page_size")),
        date=answer.date,
        unread=unread,
    )


def _row_by_row(data: list[Any], parse: Callable[[dict[str, Any]], T]) -> tuple[list[T], list[str]]:
    """Read what can be read, and say of each other row what it is, as far as that tells it from others."""
    rows: list[T] = []
    unread = []
    for raw in data:
        try:
            rows.append(parse(raw))
        except Exception as error:  # whatever a row holds, the others are read
            what = (
                str(error) if isinstance(error, ValueError) else f"a row that cannot be read ({type(error).__name__})"
            )
            digest = hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:8]
            made = raw.get("created_at") if isinstance(raw, dict) else None
            at = f", created {made[:32]!r}" if isinstance(made, str) else ""
            unread.append(f"{what}{at} [{digest}]")
    return rows, unread


def _count(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**15:
        return None
    return value
