"""The services of docker-compose.yaml on this machine find what is true, a worker killed in the middle or not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.compose import composed
from tests.support.compose_loop import NEEDS, SOON, kill_the_worker_that_sends, loop, requests

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, *NEEDS]


def test_the_file_s_services_find_what_is_true_though_a_worker_is_killed_in_the_middle_of_a_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with composed(tmp_path, **SOON) as compose:
        began = time.monotonic()
        compose.up()
        ready = time.monotonic()
        said = loop(compose, kill_the_worker_that_sends)
        took = time.monotonic() - ready
        with capsys.disabled():
            print(f"\ncompose: ready in {ready - began:.0f} s, the loop with one kill {took:.0f} s, {said['seconds']}")
        assert said["ok"]
        assert said["found"] == said["truth"]
        assert {event: n for event, n in requests(compose).items() if n != 1} == {}
        for command in ("status", "findings", "audit", "preflight"):
            answer = compose.run("airflow-worker", "python", "-m", "telnyx_porting", command)
            assert answer.returncode in (0, 1, 2), answer
            assert answer.stdout, answer.stderr
        assert compose.run("receiver", "python", "-m", "telnyx_porting", "status").returncode == 0
        counters = httpx.get(f"http://127.0.0.1:{compose.ports['8789']}/metrics", trust_env=False).text
        assert "telnyx_porting_receiver_ready 1" in counters
        assert compose.written() == []
