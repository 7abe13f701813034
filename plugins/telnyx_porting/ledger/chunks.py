"""Cut long work into short transactions."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


def chunks(source: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most `size` items."""
    items = iter(source)
    while batch := list(islice(items, size)):
        yield batch
