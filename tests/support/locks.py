"""What each write transaction of a SQLite ledger cost those who wait, in numbers that no busy machine changes."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

import telnyx_porting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from telnyx_porting.ledger.engine import Ledger

ROOT = str(Path(telnyx_porting.__file__).parent)
STEP = 1_000  # instructions of SQLite's virtual machine


@dataclass
class Lock:
    """One write transaction: who held it, rows changed, thousands of SQLite's instructions, seconds."""

    who: str
    rows: int
    steps: int = 0
    seconds: float = 0.0


@contextmanager
def write_locks(ledger: Ledger) -> Iterator[list[Lock]]:
    """Collect every write transaction of this handle, as long as the block lasts."""
    found: list[Lock] = []
    open_now: list[Lock] = []

    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("porting_write"):
            return
        driver: Any = connection.connection.dbapi_connection
        lock = Lock(_caller(), driver.total_changes, seconds=time.perf_counter())
        open_now.append(lock)

        def step() -> None:
            lock.steps += 1

        driver.set_progress_handler(step, STEP)

    def end(connection: Connection) -> None:
        if not open_now or not connection.get_execution_options().get("porting_write"):
            return
        driver: Any = connection.connection.dbapi_connection
        lock = open_now.pop()
        lock.rows = driver.total_changes - lock.rows
        lock.seconds = time.perf_counter() - lock.seconds
        driver.set_progress_handler(None, 0)
        found.append(lock)

    hooks = [(name, call) for name, call in (("begin", begin), ("commit", end), ("rollback", end))]
    for name, call in hooks:
        event.listen(ledger.engine, name, call)
    try:
        yield found
    finally:
        for name, call in hooks:
            event.remove(ledger.engine, name, call)


def _caller() -> str:
    """The innermost line of a flow."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        path = frame.f_code.co_filename
        if path.startswith(ROOT) and not path.startswith(f"{ROOT}/ledger"):
            return f"{path[len(ROOT) + 1 :]}:{frame.f_code.co_name}"
    return ""
