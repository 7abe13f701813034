"""
How long from Telnyx's webhook to the message that people read?

``python -m tests.benchmarks.bench_latency [--quick]`` prints a table of targets. A real Airflow standalone, the real
receiver and the simulator, on this machine; the DAGs as they are. The pace of alerts is the default one, and every
exception follows a confirmed FOC date, so it is critical: it does not wait for others of its group, nor for working
hours. Only `settle`, by which a scan stays behind, is 1 s: by default it is 60 s, and the poll path is as much
longer. Measured from before the order falls into exception to the arrival of the message at the simulator's inbox.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.inbox import NEVER, burst, desk, share, spaced
from tests.support.places import BUILD
from tests.support.targets import Table

if TYPE_CHECKING:
    from collections.abc import Sequence


def shown(seconds: Sequence[float]) -> str:
    """Say how they are spread."""
    ordered = sorted(seconds)
    return f"n={len(ordered)}, fastest {ordered[0]:.1f}, median {share(ordered, 0.5):.1f}, slowest {ordered[-1]:.1f} s"


def machine() -> str:
    """Say how busy it is: with more load than CPUs everything takes longer than it must."""
    return f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"


def webhook_path(table: Table, home: Path, samples: int, at_once: int) -> None:
    """With the sweep off: neither scan nor schedule can tell."""
    with desk(home, samples + at_once + 1, webhooks=True, scan_every=NEVER) as found:
        found.latencies(found.fall(1))  # by then the watcher watches
        single = spaced(found, samples)
        sys.stdout.write(f"     {found.stages()}\n")
        many, within = burst(found, at_once)
        table.line("webhook to inbox, spaced: p95, s", share(single, 0.95), "<=", 5, f"{shown(single)}; {machine()}")
        table.line(f"{at_once} webhooks in a second: the last, s", max(many), "<=", 15, machine())
        table.line("  sent in, s", within, "<=", 1, "")
        told = found.messages()
        table.line("  told more than once", len(told) - len(set(told)), "<=", 0, f"{len(told)} told")


def poll_path(table: Table, home: Path, samples: int, interval: int) -> None:
    """Without any webhook: a scan finds the event and wakes the DAG that tells."""
    with desk(home, samples, webhooks=False, scan_every=f"{interval}s") as found:
        waited = spaced(found, samples)
        wanted = interval + 10
        table.line(
            f"poll path, scan every {interval} s: the slowest, s",
            max(waited),
            "<=",
            wanted,
            f"{shown(waited)}; {machine()}",
        )


def main(quick: bool = False, folder: Path | None = None) -> list[str]:
    """Print the table; returns the targets missed."""
    table = Table()
    home = folder or Path(tempfile.mkdtemp(prefix="latency-", dir=BUILD / "tmp"))
    for name in ("webhooks", "polls"):
        (home / name).mkdir()
    sys.stdout.write("alerts at the default pace, all critical; " + machine() + "\n")
    webhook_path(table, home / "webhooks", 10 if quick else 50, 20)
    poll_path(table, home / "polls", 2 if quick else 5, 30)
    if folder is None:
        shutil.rmtree(home)
    return table.missed


@pytest.mark.bench
def test_people_are_told_in_time(tmp_path: Path) -> None:
    assert main(folder=tmp_path) == []


if __name__ == "__main__":
    sys.exit(1 if main(quick="--quick" in sys.argv) else 0)
