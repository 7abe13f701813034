"""Reading query parameters: every name has to be known, every value of its kind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from include.sandbox.api.errors import ApiError, bad_filter
from include.sandbox.world import times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.datastructures import QueryParams

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
MAX_PAGE_SIZE = 250
_DEFAULT_PAGE_SIZE = 20
#: The largest integer every JSON reader takes.
_MAX_INTEGER = 2**53 - 1


class Query:
    """The query of one request. Of a name given twice, the last one counts."""

    def __init__(self, params: QueryParams, known: Sequence[str]) -> None:
        self._params = params
        for name in params:
            if name.startswith(("filter", "page", "sort")) and name not in known:
                raise bad_filter(name, f"{name} is not a parameter of this endpoint")

    def text(self, name: str) -> str | None:
        """Give a text; None when it is not asked for."""
        return self._params.get(name)

    def one_of(self, name: str, values: Sequence[str]) -> str | None:
        """Give one of some values."""
        value = self._params.get(name)
        if value is not None and value not in values:
            raise bad_filter(name, f"{value!r} is none of {', '.join(values)}", "10032", "Invalid enumerated value")
        return value

    def uuid(self, name: str) -> str | None:
        """Give a UUID, in lower case."""
        value = self._params.get(name)
        if value is not None and not UUID.fullmatch(value):
            raise bad_filter(name, f"{value!r} is no UUID", "10006", "Invalid id")
        return value.lower() if value else value

    def time(self, name: str) -> int | None:
        """Give a date-time in microseconds."""
        value = self._params.get(name)
        if value is None:
            return None
        try:
            return times.parse(value)
        except ValueError:
            raise bad_filter(name, f"{value!r} is no date-time", "10026", "Invalid parameter type") from None

    def flag(self, name: str, default: bool) -> bool:
        """Give a boolean."""
        value = self._params.get(name)
        if value is None:
            return default
        if value not in ("true", "false"):
            raise bad_filter(name, f"{value!r} is neither true nor false", "10026", "Invalid parameter type")
        return value == "true"

    def page(self, over_max: str) -> tuple[int, int]:
        """Give number and size of the page.

        :param over_max: ``refused`` or ``capped``, for sizes above the maximum.
        """
        size = self._count("page[size]", _DEFAULT_PAGE_SIZE)
        if size > MAX_PAGE_SIZE:
            if over_max == "refused":
                raise bad_filter("page[size]", f"{size} is above {MAX_PAGE_SIZE}", "10033", "Value outside of range")
            size = MAX_PAGE_SIZE
        return self._count("page[number]", 1), size

    def _count(self, name: str, default: int) -> int:
        value = self._params.get(name)
        if value is None:
            return default
        if not re.fullmatch(r"[+-]?[0-9]{1,400}", value, re.ASCII):
            raise bad_filter(name, f"{value!r} is no integer", "10026", "Invalid parameter type")
        if not 1 <= int(value) <= _MAX_INTEGER:
            raise bad_filter(name, f"{value} is below 1 or too large", "10033", "Value outside of range")
        return int(value)


def path_id(value: str, malformed: str) -> str:
    """Check the id in a path.

    :param malformed: ``not_found`` or ``unprocessable``.
    """
    if UUID.fullmatch(value):
        return value.lower()
    if malformed == "unprocessable":
        raise ApiError(422, "10006", "Invalid id", f"{value!r} is no UUID")
    raise ApiError(404, "10005", "Resource not found", "There is nothing with this id")
