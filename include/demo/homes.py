"""A folder per demo: several run beside each other, and what a killed one left running is found and stopped."""

from __future__ import annotations

import fcntl
import json
import shutil
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from include.demo.postgres import discard
from include.demo.processes import RECORD, start_time, stop_stranger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def home(parent: Path, name: str, say: Callable[[str], None] = lambda _text: None) -> Iterator[Path]:
    """Give the first of ``<parent>/<name>``, ``<name>-2`` ... that nobody uses, empty, for the length of the block.

    Before that, stop what a killed user of any of them has left.

    :param say: hears one sentence about each such process.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for lock in sorted(parent.glob(f"{name}*.lock")):
        with _locked(lock) as mine:
            if mine:
                _stop_what_was_left(lock.with_suffix(""), say)
    for number in count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with _locked(parent / f"{folder.name}.lock") as mine:
            if mine:
                _stop_what_was_left(folder, say)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                yield folder
                return


@contextmanager
def _locked(file: Path) -> Iterator[bool]:
    """Hold a lock that ends with this process, however that ends; say whether it could be had."""
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _stop_what_was_left(folder: Path, say: Callable[[str], None]) -> None:
    record = folder / RECORD
    try:
        written = json.loads(record.read_text())
        processes = [(str(row["name"]), int(row["pid"]), float(row["started"])) for row in written["processes"]]
        folders = [Path(text) for text in written["folders"]]
    except (OSError, ValueError, KeyError, TypeError):  # none, or cut short with its writer
        return
    for name, pid, started in reversed(processes):
        found = start_time(pid)
        if found is not None and abs(found - started) < 1:  # else its pid is another's by now
            say(f"an earlier demo was killed and left {name} running (pid {pid}): stopping it")
            stop_stranger(pid)
    for each in folders:
        discard(each)
    record.unlink(missing_ok=True)
