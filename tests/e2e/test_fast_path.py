"""A real Airflow, woken by the receiver: people hear of an exception before any scan, and once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.inbox import NEVER, TELL, burst, desk, spaced

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_webhooks_reach_people_with_the_sweep_off(tmp_path: Path) -> None:
    """How fast is measured by the benchmark; here each wait is bounded only by its patience."""
    with desk(tmp_path, 8, webhooks=True, scan_every=NEVER) as found:
        assert len(spaced(found, 2)) == 2
        latencies, _ = burst(found, 6)
        assert len(latencies) == 6
        told = found.messages()
        assert (len(told), len(set(told))) == (8, 8)
        texts = [letter["body"]["text"] for letter in found.sandbox.inbox()]
        assert all("Seen on the order; no event yet." in text for text in texts), texts
        woken = [run for run in found.airflow.api.runs(TELL) if run.startswith("asset_triggered")]
        assert woken
        assert found.airflow.api.import_errors() == []
