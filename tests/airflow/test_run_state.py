"""A run's state is the truth: whichever task fails, the run has failed; and a run in which none failed has not."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from telnyx_porting.ledger.engine import Ledger
from tests.airflow.runs import DAG_FILES, EXAMPLES, known, loaded, states
from tests.flows.rows import add_event, add_feed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("airflow-db")]
FILES = {path.stem: path for path in (*DAG_FILES, *EXAMPLES)}
HOUR = timedelta(hours=1)


def tasks() -> list[tuple[str, str]]:
    """Every task of every DAG, but the one that only repeats that another one failed."""
    found = []
    for name, path in FILES.items():
        (dag,) = loaded(path).dags.values()
        found += [(name, each) for each in dag.task_ids if each.rpartition(".")[2] != "any_failed"]
    return found


@pytest.fixture
def scene(
    sandbox: RunningSandbox,
    conn_id: str,
    connect: Callable[..., str],
    airflow_db: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], dict[str, Any]]:
    """A scanned account with one missed event, which the watch may send; gives what a run of a DAG is started with."""
    connect("telnyx_porting_ledger", conn_type="sqlite", host=str(tmp_path / "ledger.db"))
    knobs = {
        "REPUBLISH_MODE": "auto",
        "CONSUMER_IS_IDEMPOTENT": "true",
        "CONSUMER_OF_RECORD": "receiver",
        "CONFIRM_WITHIN": "0s",
        "REQUESTS_PER_SECOND": "1000",
    }
    for name, value in knobs.items():
        monkeypatch.setenv(f"TELNYX_PORTING_{name}", value)
    monkeypatch.setenv("EVENTS_FOLDER", tmp_path.as_uri())
    order = sandbox.order(status="submitted")
    sandbox.act(order, "status", value="foc-date-confirmed")
    event = sandbox.act(order, "comment", complete_after=0)[0]["id"]
    now = datetime.now(UTC)
    with closing(Ledger(f"sqlite:///{tmp_path / 'ledger.db'}").ready()) as ledger:
        add_feed(ledger, heartbeat=now, covers_from=now - 7 * 24 * HOUR, proved_at=now - 7 * 24 * HOUR)
        covered = {"covers_from": now - 3 * HOUR, "covered_until": now - HOUR / 60}
        add_feed(ledger, "events", watch_from=now - 7 * 24 * HOUR, **covered)
        add_event(ledger, id=event, created_at=now - HOUR, delivery="missed")
    conf = {
        "porting_backfill": {"from": (now - 5 * HOUR).isoformat(), "to": (now - HOUR).isoformat()},
        "telnyx_resend_order": {"order": order},
    }
    (example,) = loaded(FILES["telnyx_react_to_events"]).dags.values()
    # the run itself, with a real triggerer, is in tests/e2e/test_watcher.py
    monkeypatch.setattr(example.get_task("new_event_ids"), "python_callable", lambda: [event])
    return lambda name: conf.get(name, {})


def run(name: str, conf: dict[str, Any]) -> Any:
    """Run a DAG to its end; what it starts is known to Airflow, too."""
    if name == "porting_missed_notifications":
        known(FILES["porting_republish"])
    return known(FILES[name]).test(run_conf=conf)


@pytest.mark.parametrize("name", FILES)
def test_a_run_in_which_no_task_failed_is_a_success(name: str, scene: Callable[[str], dict[str, Any]]) -> None:
    ended = run(name, scene(name))
    assert ended.state == "success"
    assert set(states(ended).values()) <= {"success", "skipped"}


@pytest.mark.parametrize(("name", "task_id"), tasks())
def test_a_run_in_which_a_task_failed_has_failed(
    name: str, task_id: str, scene: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = scene(name)
    (dag,) = loaded(FILES[name]).dags.values()
    task = dag.get_task(task_id)
    operator = getattr(task, "operator_class", type(task))

    def fail(self: Any, context: Any) -> None:
        if self.task_id == task_id:
            raise AirflowFailException("it is broken")

    monkeypatch.setattr(operator, "pre_execute", fail)
    ended = run(name, conf)
    assert states(ended)[task_id] == "failed", "the task was reached, and failed"
    assert ended.state == "failed"
