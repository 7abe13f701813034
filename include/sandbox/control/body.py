"""Bodies of control requests: known fields of the right kind, or one sentence that says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from include.sandbox.world import jsons, times
from include.sandbox.world.lifecycle import ImpossibleMove

if TYPE_CHECKING:
    from starlette.requests import Request


class BadBody(ValueError):
    """A body that cannot be used."""


def answer(document: Any, status: int = 200) -> Response:
    """Answer JSON."""
    return Response(jsons.dumps(document), status, media_type="application/json")


async def refuse(request: Request, error: Exception) -> Response:
    """Answer an error with its sentence."""
    if isinstance(error, HTTPException):
        return answer({"error": str(error.detail)}, error.status_code)
    return answer({"error": str(error)}, 409 if isinstance(error, ImpossibleMove) else 400)


class Body:
    """A JSON object."""

    def __init__(self, fields: dict[str, Any], known: tuple[str, ...] = ()) -> None:
        unknown = sorted(set(fields) - set(known)) if known else []
        if unknown:
            raise BadBody(f"field {unknown[0]!r} is none of {', '.join(known)}")
        self._fields = fields

    @classmethod
    async def read(cls, request: Request, *known: str) -> Body:
        """Read the body of a request; no body counts as an empty object."""
        raw = await request.body()
        try:
            fields = jsons.loads(raw) if raw else {}
        except ValueError as error:
            raise BadBody(f"the body is no JSON: {error}") from None
        if not isinstance(fields, dict):
            raise BadBody("the body is no JSON object")
        return cls(fields, known)

    def all(self) -> dict[str, Any]:
        """Give all fields as they are."""
        return self._fields

    def has(self, name: str) -> bool:
        """Say whether a field is there, be it null."""
        return name in self._fields

    def text(self, name: str) -> str | None:
        """Give a text."""
        return self._typed(name, (str,), "text")

    def number(self, name: str) -> float | None:
        """Give a number."""
        return self._typed(name, (int, float), "number")

    def flag(self, name: str) -> bool | None:
        """Give true or false."""
        return self._typed(name, (bool,), "boolean")

    def object(self, name: str) -> dict[str, Any] | None:
        """Give an object."""
        return self._typed(name, (dict,), "object")

    def time(self, name: str) -> int | None:
        """Give a date-time in microseconds."""
        value = self.text(name)
        try:
            return None if value is None else times.parse(value)
        except ValueError:
            raise BadBody(f"{name}: {value!r} is no date-time with an offset") from None

    def texts(self, name: str) -> list[str]:
        """Give a list of texts; absent counts as empty."""
        value = self._typed(name, (list,), "list") or []
        if not all(isinstance(one, str) for one in value):
            raise BadBody(f"{name}: {value!r} is no list of texts")
        return list(value)

    def numbers(self, name: str, usual: list[float]) -> list[float]:
        """Give a list of numbers."""
        value = self._typed(name, (list,), "list")
        if value is None:
            return usual
        if not all(isinstance(one, int | float) for one in value):
            raise BadBody(f"{name}: {value!r} is no list of numbers")
        return [float(one) for one in value]

    def _typed(self, name: str, kinds: tuple[type, ...], said: str) -> Any:
        value = self._fields.get(name)
        if value is None:
            return None
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise BadBody(f"{name}: {value!r} is no {said}")
        return value
