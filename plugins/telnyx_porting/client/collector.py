"""
Keep Python's cyclic garbage collector from looking through a listing's rows.

A page is thousands of new objects, and a listing millions. None of them is part of a cycle: all are freed by counting,
once the caller lets go. Yet so many new objects make the collector look through them, and in a process as large as
Airflow's through everything else, again and again: half of a listing's time. So what is there when a listing begins is
set aside, and each page as it is read; when the listing ends, all of it is the collector's again. Source: the
documentation of Python's ``gc`` module, ``freeze``.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_listings = 0


@contextmanager
def old_objects_set_aside() -> Iterator[None]:
    """Set aside what is there while a list is read; of several at the same time, the last one gives it back."""
    global _listings
    if not _listings and gc.get_freeze_count():  # somebody else's
        yield
        return
    _listings += 1
    gc.freeze()
    try:
        yield
    finally:
        _listings -= 1
        if not _listings:
            gc.unfreeze()


@contextmanager
def page_set_aside() -> Iterator[None]:
    """Let the collector wait while a page is read, a millisecond or two, and set the page aside in a listing."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if _listings:
            gc.freeze()
        gc.enable()
