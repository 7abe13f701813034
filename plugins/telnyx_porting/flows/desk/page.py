"""A page of rows out of many, how many there are, and the filter that they are of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Connection, Select, func, select

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


@dataclass(frozen=True)
class Filter:
    """Base of the filters: texts and times, with a default each."""

    def query(self) -> dict[str, str]:
        """Return what is not at its default, for an address; times in ISO form."""
        chosen = ((each, getattr(self, each.name)) for each in fields(self))
        return {each.name: _written(value) for each, value in chosen if value != each.default}


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a filter, in its order.

    :param total: rows on all pages, counted by the same conditions as the rows
    :param number: of this page, from 1
    :param is_least: there may be more than `total`: so many were counted, and no more
    """

    rows: tuple[T, ...]
    total: int
    number: int = 1
    size: int = 50
    is_least: bool = False

    @property
    def last(self) -> int:
        """The number of the last page."""
        return max(-(-self.total // self.size), 1)

    @property
    def more(self) -> bool:
        """Whether there is a next page."""
        return self.number < self.last


def _written(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def on_page(query: Select[Any], number: int) -> Select[Any]:
    """Return SQL of one page of a query, from 1."""
    return query.limit(Page.size).offset((number - 1) * Page.size)


def count_of(connection: Connection, query: Select[Any]) -> int:
    """Return how many rows a query has on all pages."""
    return int(connection.execute(select(func.count()).select_from(query.order_by(None).subquery())).scalar_one())


def from_row(kind: type[T], row: Mapping[Any, Any], **more: Any) -> T:
    """Return a dataclass with what a row holds under the names of its fields, and more."""
    names = (each.name for each in fields(kind))  # type: ignore[arg-type]
    return kind(**{name: row[name] for name in names if name in row}, **more)
