"""Make foreign text harmless without changing what it says: it is data in every channel, and short enough to read."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlsplit

# Control characters, lone surrogates, and marks that make text read backwards or hide it.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_NO_TRANSPORT = re.compile("[\x00\ud800-\udfff]")
_MARKUP = re.compile(r"[\\`*{}\[\]<>#!|~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")  # inside of a word _ is a letter
_LINKED = re.compile(r":(?=//)|www(?=\.)|@", re.IGNORECASE)
SHORT, LONG = 120, 600  # characters


def one_line(text: object, limit: int = SHORT) -> str:
    """Return text that fits into a line: nothing in it can break the line, hide, or run on for ever."""
    whole = str(text)
    cut = _UNPRINTABLE.sub(_shown, whole[: limit * 2]).strip()
    if len(whole) > limit:
        return f"{cut[:limit]}... ({len(whole)} characters)"
    return cut


def _shown(match: re.Match[str]) -> str:
    return " " if match[0] in "\t\r\n\u2028\u2029" else "\ufffd"


def place(url: str) -> str:
    """Return a URL's host and path in one line, whatever it holds: its query and its user may be a secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None:
        return one_line(re.split("[?#]", url)[0].rpartition("@")[2], 60)
    return one_line(f"{host}{f':{port}' if port else ''}{parts.path if len(parts.path) > 1 else ''}", 120)


def address(url: str) -> str:
    """Return a URL as :func:`place` does, with its scheme: it can be copied."""
    scheme, mark, _ = url.partition("://")
    if mark:
        return f"{one_line(scheme, 20)}://{place(url)}"
    return place(url) if "/" in url else one_line(url)


def as_data(text: str | None, limit: int = 1_000) -> str | None:
    """Return text as it is, for a field of its own; only what cannot travel is replaced."""
    if text is None:
        return None
    cut = _NO_TRANSPORT.sub("\ufffd", text[:limit])
    return cut if len(text) <= limit else f"{cut}... ({len(text)} characters)"


def identity(text: str, limit: int = 255) -> str:
    """Return text that names something, for a field of its own; what cannot travel or is too long becomes a digest.

    Two names never become one, as they would where they are cut.
    """
    travels = _NO_TRANSPORT.sub("\ufffd", text)
    if travels == text and len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
    return f"{travels[: limit - len(digest) - 1]}~{digest}"


def for_slack(text: str, limit: int | None = None) -> str:
    """Escape for Slack and those who imitate it: no mention, no link, no image.

    :param limit: most characters of what is returned.
    """
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # imitators also read Markdown: an invisible joint between the brackets and the address breaks the link
    escaped = escaped.replace("](", "]\u2060(").replace("@", "@\u2060")
    if limit is None or len(escaped) <= limit:
        return escaped
    return re.sub("&[a-z]{0,3}$", "", escaped[: limit - 3]) + "..."


def for_markdown(text: object) -> str:
    """Escape for Markdown, inside a line: no image, no link, no markup, no new line."""
    plain = " ".join(_UNPRINTABLE.sub(_shown, str(text)).split())
    # what becomes a link by itself does so after escapes are read: an invisible joint breaks it
    return _LINKED.sub("\\g<0>\u2060", _MARKUP.sub(r"\\\g<0>", plain))
