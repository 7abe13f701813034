"""What a person at the terminal gets to read: what happens, and when something fails, what matters of a log."""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.demo.processes import DemoError

SHOWN = 12  # lines
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
MATTERS = re.compile(
    r"\b(critical|error|fatal|exception|failed|refused|denied|killed|no space|in use)\b|\w(Error|Exception)\b", re.I
)


def say(text: str) -> None:
    """Print for the person at the terminal, at once."""
    print(text, flush=True)


@contextmanager
def phase(seconds: dict[str, float], name: str, words: str) -> Iterator[None]:
    """Say what happens and measure it."""
    say(f"* {words}")
    begin = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - begin, 1)
    say(f"  done in {seconds[name]} s")


def report(error: DemoError, logs: Path) -> None:
    """Say in one sentence why the demo ended, which file to look into, and the last lines of it that matter."""
    print(f"demo: {error}", file=sys.stderr)
    log = logs / f"{error.log}.log" if isinstance(error.log, str) else error.log
    if log is None:
        return
    lines = what_matters(log)
    print(f"its log is {log}{', what matters in it:' if lines else ''}", file=sys.stderr)
    for line in lines:
        print(f"    {line}", file=sys.stderr)


def what_matters(log: Path) -> list[str]:
    """Return the last lines of a log that tell of an error; the last ones of all where none does."""
    try:
        written = log.read_text(errors="replace")
    except OSError:
        return []
    lines = [line for raw in written.splitlines() if (line := _readable(raw))]
    return ([line for line in lines if MATTERS.search(line)] or lines)[-SHOWN:]


def _readable(line: str) -> str:
    """A line as text of a terminal's width; of one of Airflow's JSON lines: level, event and error."""
    try:
        entry = json.loads(line)
        shown = [str(entry[key]) for key in ("level", "event") if key in entry]
        shown += [f"{each['exc_type']}: {each['exc_value']}" for each in entry.get("error_detail") or ()]
        line = " ".join(shown)
    except (ValueError, TypeError, KeyError, AttributeError):
        line = COLOURS.sub("", line)
    return line.rstrip()[:240]
