"""The demo waits for what the watch needs, and not for a time that somebody once found long enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from include.demo.airflow import Databases
from include.demo.loop import KNOBS, Demo
from include.demo.ports import Ports
from include.demo.processes import Processes
from include.sandbox.testing import running_sandbox

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("grace", "quiet", "enough"), [("4s", 0, False), ("4s", 20, True), ("30s", 20, False)])
def test_the_demo_judges_when_the_last_event_is_old_enough_for_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grace: str, quiet: int, enough: bool
) -> None:
    monkeypatch.setitem(KNOBS, "grace", grace)
    with running_sandbox() as sandbox, Processes(tmp_path) as processes:
        stopped = datetime.now(UTC) - timedelta(seconds=quiet)
        sandbox.clock(now=stopped.isoformat(), frozen=True)
        ports = Ports(sandbox=int(sandbox.origin.rsplit(":", 1)[1]))
        demo = Demo(tmp_path, ports, processes, Databases.in_files(tmp_path), {})
        assert demo.can_judge() is enough
        demo.close()
