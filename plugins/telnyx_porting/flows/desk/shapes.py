"""The structure of what Telnyx answers, without any of its values: what a report may hold when something does not fit.

A key is shown where it looks like a field's name; any other may be data, and only its format is shown. Of everything
else only type and format are: ``uuid``, ``time with Z and 6 digits``, ``text``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from telnyx_porting.models.reading import load_json

if TYPE_CHECKING:
    from telnyx_porting.client.answers import Answer

_NAME = re.compile("[a-z][a-z_]{0,39}")
_FORMATS = {
    "empty text": "",
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "date": r"\d{4}-\d\d-\d\d",
    "URL": r"https?://\S+",
    "e-mail address": r"[^@\s]+@[^@\s]+\.[^@\s]+",
    "phone number": r"\+\d{7,15}",
    "digits": r"\d+",
    "constant": r"[A-Z][A-Z_]*",
    "word": r"[a-z][a-z_.-]*",
    "text": r"(?s:.*)",
}
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)?")
_DEEPEST, _MOST_KEYS = 12, 200


class Shape:
    """What was seen at one place of a document."""

    def __init__(self) -> None:
        self.plain: set[str] = set()
        self.items: Shape | None = None
        self.fields: dict[str, Shape] = {}
        self.seen: dict[str, int] = {}  # how many objects had the field
        self.objects = 0

    def add(self, value: Any, depth: int = 0) -> None:
        """Take one more value in."""
        if depth > _DEEPEST and isinstance(value, (dict, list)):
            self.plain.add("something deeper")
        elif isinstance(value, dict):
            self.objects += 1
            for key, each in value.items():
                name = _name(key)
                if name not in self.fields and len(self.fields) >= _MOST_KEYS:
                    name = "<more>"
                self.seen[name] = self.seen.get(name, 0) + 1
                self.fields.setdefault(name, Shape()).add(each, depth + 1)
        elif isinstance(value, list):
            self.items = self.items or Shape()
            for each in value:
                self.items.add(each, depth + 1)
        else:
            self.plain.add(_format(value))

    def dump(self) -> Any:
        """Return it as JSON: formats, joined by `or`; a key ends in `?` where some objects lack it."""
        parts: list[Any] = [" or ".join(sorted(self.plain))] if self.plain else []
        if self.items is not None:
            parts.append([self.items.dump()] if self.items.holds_any else [])
        if self.objects:
            named = {name + "?" * (self.seen[name] < self.objects): name for name in sorted(self.fields)}
            parts.append({shown: self.fields[name].dump() for shown, name in named.items()})
        return parts[0] if len(parts) == 1 else {"<one of>": parts}

    @property
    def holds_any(self) -> bool:
        """Whether anything was seen here."""
        return bool(self.plain or self.items or self.objects)


class Shapes:
    """Takes answers as they come, and keeps their shapes alone, by path and status."""

    def __init__(self) -> None:
        self._shapes: dict[str, Shape] = {}

    def take(self, answer: Answer) -> None:
        """Take the shape of an answer, whatever it is."""
        path = re.sub(_FORMATS["uuid"], "{id}", answer.path)
        shape = self._shapes.setdefault(f"GET {path}: {answer.status}", Shape())
        try:
            shape.add(load_json(answer.body))
        except ValueError:
            shape.plain.add("not JSON" if answer.body.strip() else "no body")

    def dump(self) -> dict[str, Any]:
        """Return all shapes as JSON."""
        return {name: shape.dump() for name, shape in sorted(self._shapes.items())}


def _name(key: str) -> str:
    return key if _NAME.fullmatch(key) else f"<{_format(key)}>"


def _format(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) else "number"
    if (time := _TIME.fullmatch(value)) is not None:
        zone = {None: "without zone", "Z": "with Z"}.get(time[3], "with offset")
        return f"time {zone}" + (f" and {len(time[2])} digits" if time[2] else "") + (" (a space)" * (time[1] == " "))
    return next(name for name, pattern in _FORMATS.items() if re.fullmatch(pattern, value))
