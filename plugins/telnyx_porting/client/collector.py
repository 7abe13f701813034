"""
Keep Python's cyclic garbage collector from looking through a listing's rows again and again.

A page is thousands of new objects, and a listing millions. None of them is part of a cycle: all are freed by counting,
once the caller lets go. Yet after 700 new objects (2,000 in newer Pythons) the collector looks through the young ones,
and after some of these through all, which in a process as large as Airflow's takes a third of a listing's time. So
while a list is read it waits for more of them; garbage in cycles is still found. Source: the documentation of Python's
``gc`` module, ``set_threshold``.
"""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

YOUNG = 100_000
"""New objects for which the collector waits: somewhat more than the rows that a listing holds are made of."""

_lock = threading.Lock()
_listings = 0
_usual = gc.get_threshold()


@contextmanager
def patient_collector() -> Iterator[None]:
    """Let the collector wait longer; of several listings at the same time, the last one sets it back."""
    global _listings, _usual
    with _lock:
        if not _listings:
            _usual = gc.get_threshold()
            if _usual[0]:  # zero: it is switched off
                gc.set_threshold(max(YOUNG, _usual[0]), *_usual[1:])
        _listings += 1
    try:
        yield
    finally:
        with _lock:
            _listings -= 1
            if not _listings:
                gc.set_threshold(*_usual)
