"""The compose file's services and something bad in the middle of a batch: the loop ends, nothing lost or sent twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.compose import composed
from tests.support.compose_loop import NEEDS, SOON, kill_the_worker_that_sends, loop, requests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.compose import Compose

pytestmark = [pytest.mark.chaos, *NEEDS]


def restart_the_scheduler(compose: Compose) -> None:
    compose.kill("airflow-scheduler-1")
    compose.start("airflow-scheduler")


def stop_the_triggerer(compose: Compose) -> None:
    compose.kill("airflow-triggerer-1")
    time.sleep(30)  # of absence, which is what is tested
    compose.start("airflow-triggerer")


def drop_every_connection(compose: Compose) -> None:
    others = "datname IS NOT NULL AND pid <> pg_backend_pid()"
    compose.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")


def freeze_redis(compose: Compose) -> None:
    compose.freeze("redis-1", on=True)
    time.sleep(8)  # of silence, which is what is tested
    compose.freeze("redis-1", on=False)


@pytest.mark.parametrize(
    "harm",
    [
        None,
        restart_the_scheduler,
        stop_the_triggerer,
        drop_every_connection,
        freeze_redis,
        kill_the_worker_that_sends,
    ],
    ids=lambda harm: harm.__name__ if harm else "nothing",
)
def test_the_loop_ends_with_nothing_lost_and_nothing_sent_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Compose], None] | None
) -> None:
    with composed(tmp_path, **({} if harm is None else SOON)) as compose:
        began = time.monotonic()
        compose.up()
        ready = time.monotonic()
        said = loop(compose, harm)
        with capsys.disabled():
            print(f"\nready in {ready - began:.0f} s, loop {time.monotonic() - ready:.0f} s, {said['seconds']}")
        assert said["found"] == said["truth"]
        assert {event: n for event, n in requests(compose).items() if n != 1} == {}
