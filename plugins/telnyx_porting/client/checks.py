"""What callers pass, checked before anything is sent. Every error names the argument, its value and what is right."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from telnyx_porting.errors import SettingsError
from telnyx_porting.models.oddities import is_uuid

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_PAGE_SIZE = 250


def checked_base_url(base_url: str, allow_insecure_http: bool) -> str:
    """Return the base URL without a slash at its end; http only where the key cannot leak."""
    expected = "a URL such as https://api.telnyx.com/v2"
    try:
        parts = urlsplit(base_url)
        host = (parts.hostname or "").rstrip(".")
        port_is_good = parts.port != 0
    except (ValueError, AttributeError, TypeError):
        raise SettingsError("base_url", base_url, expected) from None
    if parts.username or parts.password:
        raise SettingsError("base_url", "<hidden>", "a URL without user name and password")
    if parts.scheme not in ("https", "http") or not host or parts.query or parts.fragment or not port_is_good:
        raise SettingsError("base_url", base_url, expected)
    if parts.scheme == "http" and host not in LOOPBACK:
        if host == "telnyx.com" or host.endswith(".telnyx.com"):
            raise SettingsError("base_url", base_url, "https: the public API is not spoken to in the clear")
        if not allow_insecure_http:
            expected = "https, or allow_insecure_http for a test server of yours (the key would be readable)"
            raise SettingsError("base_url", base_url, expected)
    return f"{parts.scheme}://{parts.netloc}{quote(parts.path.rstrip('/'), safe='/%-._~')}"


def checked_key(api_key: str) -> str:
    """Return the key if it can be sent in a header; an error never shows it."""
    if not isinstance(api_key, str) or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise SettingsError("api_key", "<hidden>", "printable characters without spaces")
    if not api_key:
        raise SettingsError("api_key", "", "a Telnyx API key, as in the portal under Keys & Credentials")
    return api_key


def check_number(field: str, value: float, least: float, most: float, expected: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise SettingsError(field, value, expected)


def check_page_size(value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PAGE_SIZE:
        raise SettingsError("page_size", value, f"a whole number from 1 to {MAX_PAGE_SIZE}")


def checked_uuid(field: str, value: str) -> str:
    """Return an id fit to enter a path."""
    if not is_uuid(value):
        raise SettingsError(field, value, "a UUID such as 5796a670-482c-490e-8d97-82bfcdc83011")
    return value


def checked_time(field: str, value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise SettingsError(field, value, "a datetime with a time zone")
    return value.astimezone(UTC)


def checked_range(field: str, low: datetime | None, high: datetime | None) -> tuple[datetime | None, datetime | None]:
    low, high = checked_time(f"{field}_gte", low), checked_time(f"{field}_lte", high)
    if low is not None and high is not None and low > high:
        raise SettingsError(f"{field}_gte", low.isoformat(), f"not later than {field}_lte = {high.isoformat()}")
    return low, high


def checked_choice(field: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise SettingsError(field, value, "one of " + ", ".join(choices))
    return value
