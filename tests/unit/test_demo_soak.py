"""A soak goes on where it was, and one bad run is never forgotten."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("good", "status"), [([True, True], 0), ([True, False], 1)])
def test_runs_on_file_count(tmp_path: Path, good: list[bool], status: int) -> None:
    file = tmp_path / "soak.jsonl"
    lines = [{"run": n, "ok": ok, "seconds": 90.0 + n} for n, ok in enumerate(good)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for times in (1, 2):
        command = [sys.executable, "-m", "include.demo.soak", "2", "--file", str(file)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == status
        written = [json.loads(text) for text in file.read_text().splitlines()]
        tally = f"{sum(good)} of 2 good; seconds: 90.0 to 91.0, median 91.0"
        assert written == lines + [{"tally": tally}] * times
