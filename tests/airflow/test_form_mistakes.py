"""A mistake in a form: said at once, in a sentence; it pages nobody, sends nothing and blocks nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.republish.plan import make_plan
from telnyx_porting.flows.subscriptions import Destinations
from telnyx_porting.ledger.tables import feeds, findings, plans
from telnyx_porting.operators.forms import refuse_what_would_be_ignored, republish_form
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT
from tests.support.runs import FILES, read, run, tries

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.sandbox.testing import RunningSandbox
    from tests.support.runs import Scene

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("form_mistakes")]
STRANGER = "5796a670-482c-490e-8d97-82bfcdc83011"
NOW = datetime.now(UTC)
EARLY, LATE, SOON = ((NOW + timedelta(days=days)).isoformat() for days in (-400, -300, 30))
COMMENTS = "porting_order.new_comment"
MISTAKES: dict[str, list[tuple[dict[str, Any], str]]] = {
    "porting_backfill": [
        ({}, "from = '' is not valid: a time such as"),
        ({"from": EARLY}, "to = '' is not valid"),
        ({"from": "2026-13-01T00:00:00Z", "to": LATE}, "from = '2026-13-01T00:00:00Z' is not valid"),
        ({"from": "2026-01-01T00:00:00", "to": LATE}, "is not valid: an ISO 8601 time with a zone"),
        ({"from": LATE, "to": EARLY}, "it must be earlier than to"),
        ({"from": SOON, "to": EARLY}, "it must be earlier than to"),
        ({"since": EARLY, "until": LATE}, "configuration = 'since' is not valid: one of account, from, to"),
    ],
    "porting_maintenance": [
        ({"from": "yesterday"}, "from = 'yesterday' is not valid"),
        ({"from": LATE, "to": EARLY}, "it must be earlier than to"),
        ({"from": EARLY, "to": LATE}, "is not valid: the ledger covers"),
        ({"from": SOON}, "a time that is over"),
        ({"byids": True}, "configuration = 'byids' is not valid: one of by_ids, from, to"),
    ],
    "porting_republish": [
        ({"dryrun": True}, "configuration = 'dryrun' is not valid: one of account, "),
        ({"created_from": EARLY, "created_to": LATE}, "name an order, a type or events"),
        ({"consents": ["arrived"]}, "name an order, a type or events"),
        ({"event_type": COMMENTS}, "both times, or an order"),
        ({"event_type": COMMENTS, "created_from": EARLY}, "both times, or an order"),
        ({"event_type": COMMENTS, "created_from": "soon", "created_to": LATE}, "created_from = 'soon' is not valid"),
        ({"event_type": COMMENTS, "created_from": LATE, "created_to": EARLY}, "expected from <= to"),
        ({"event_type": COMMENTS, "created_from": EARLY, "created_to": LATE}, "let porting_backfill read it first"),
        ({"event_ids": [STRANGER]}, "not in the ledger"),
        ({"event_ids": [STRANGER], "event_type": COMMENTS}, "events named one by one are not narrowed"),
        ({"porting_order_id": STRANGER}, "Telnyx knows no such order"),
        ({"plan_id": STRANGER}, "has no plan"),
        ({"plan_id": STRANGER, "event_ids": [STRANGER]}, "the plan that is continued holds its own events"),
        ({"close": True}, "the id of the plan to close"),
        ({"close": True, "plan_id": STRANGER, "dry_run": True}, "a plan that is closed sends nothing"),
    ],
    "telnyx_resend_order": [
        ({"order": STRANGER, "dryrun": True}, "configuration = 'dryrun' is not valid: one of order")
    ],
    **{
        name: [
            ({"account": ACCOUNT}, "configuration = 'account' is not valid: nothing: this DAG takes no configuration")
        ]
        for name in ("porting_scan", "porting_stuck_events", "porting_exception_alerts", "porting_missed_notifications")
    },
}


def test_every_dag_with_a_form_is_here() -> None:
    with_a_form = {name for name, path in FILES.items() for dag in read(path).dags.values() if dag.params}
    assert with_a_form <= MISTAKES.keys()


@pytest.mark.parametrize(
    ("name", "conf", "sentence"), [(name, *mistake) for name, mistakes in MISTAKES.items() for mistake in mistakes]
)
def test_is_said_at_once_and_pages_nobody(
    name: str,
    conf: dict[str, Any],
    sentence: str,
    scene: Scene,
    sandbox: RunningSandbox,
    capfd: pytest.CaptureFixture[str],
) -> None:
    ended = run(scene, name, conf)
    assert (ended.state, tries(ended)) == ("failed", 1)
    assert sentence in capfd.readouterr().out
    assert sandbox.republishes() == []
    with scene.ledger.read() as connection:
        assert [row.key for row in connection.execute(findings.select()) if ":dag:" in row.key] == []
        assert connection.execute(plans.select()).all() == []


@pytest.mark.parametrize("name", MISTAKES)
def test_blocks_nobody(name: str, scene: Scene) -> None:
    assert run(scene, name, MISTAKES[name][0][0]).state == "failed"
    assert run(scene, name).state == "success"


def test_history_before_the_first_scan(scene: Scene) -> None:
    """Neither a typo nor a fault of the watch: there is nothing to try again before porting_scan has run."""
    with scene.ledger.write() as connection:
        connection.execute(feeds.delete())
    ended = run(scene, "porting_backfill")
    assert (ended.state, tries(ended)) == ("failed", 1)
    with scene.ledger.read() as connection:
        assert [row.key for row in connection.execute(findings.select()) if ":dag:" in row.key] == []


FILLED = {
    "event_ids": [STRANGER],
    "porting_order_id": STRANGER,
    "event_type": COMMENTS,
    "created_from": EARLY,
    "created_to": LATE,
    "dry_run": True,
    "consents": ["arrived"],
    "reason": "asked on the phone",
    "plan_id": STRANGER,
    "close": True,
}
USED_TOGETHER = [  # whatever is not below one of these has a field that would count for nothing
    {"dry_run", "reason"},
    {"event_ids", "dry_run", "consents", "reason"},
    {"porting_order_id", "event_type", "created_from", "created_to", "dry_run", "consents", "reason"},
    {"event_type", "created_from", "created_to", "dry_run", "consents", "reason"},
    {"plan_id", "dry_run"},
    {"plan_id", "close"},
]
NEEDED = [{"event_ids"}, {"porting_order_id"}, {"event_type", "created_from", "created_to"}, {"plan_id"}]


def means_something(fields: frozenset[str]) -> bool:
    """Whether every field of a form that is filled in counts."""
    if fields <= USED_TOGETHER[0]:
        return True
    if "close" in fields and "plan_id" not in fields:
        return False
    return any(fields <= whole for whole in USED_TOGETHER) and any(fields >= needed for needed in NEEDED)


def test_no_field_of_the_republish_form_is_ever_ignored() -> None:
    """Every one of the 1024 ways to fill it in: each field counts, or the form is refused."""
    assert FILLED.keys() == republish_form(Settings()).keys() - {"account"}
    names = sorted(FILLED)
    for number in range(2 ** len(names)):
        fields = frozenset(name for place, name in enumerate(names) if number >> place & 1)
        form = {name: value if name in fields else None for name, value in FILLED.items()}
        try:
            refuse_what_would_be_ignored(form)
        except ValueError:
            assert not means_something(fields), sorted(fields)
        else:
            assert means_something(fields), sorted(fields)


def test_an_open_plan_is_no_fault_of_the_watch(scene: Scene) -> None:
    """What a person names waits for the plan that is open; nobody is paged for that."""
    make_plan(Account(scene.ledger, ACCOUNT, Settings(consumer_of_record="receiver")), Destinations())
    ended = run(scene, "porting_republish", {"event_ids": [scene.event]})
    assert (ended.state, tries(ended)) == ("failed", 1)
    with scene.ledger.read() as connection:
        assert [row.key for row in connection.execute(findings.select()) if ":dag:" in row.key] == []


@pytest.mark.parametrize(
    ("run_type", "is_told"), [("manual", False), ("scheduled", True), ("operator_triggered", True)]
)
def test_only_who_is_there_is_not_paged(
    scene: Scene, run_type: str, is_told: bool, callback: Callable[..., Any]
) -> None:
    callback(run_type)
    with scene.ledger.read() as connection:
        assert bool([row for row in connection.execute(findings.select()) if ":dag:" in row.key]) == is_told


@pytest.fixture
def callback() -> Callable[..., Any]:
    """Airflow's call when a task has failed for good."""
    from types import SimpleNamespace

    from telnyx_porting.errors import FormError
    from telnyx_porting.notifications.failure import PortingAlertNotifier

    def failed(run_type: str) -> None:
        task = SimpleNamespace(dag_id="porting_backfill", task_id="backfill", run_id="1", map_index=-1)
        context = {
            "ti": task,
            "task": SimpleNamespace(telnyx_conn_id=ACCOUNT),
            "exception": FormError("from", "", "a time"),
        }
        PortingAlertNotifier().notify({**context, "dag_run": SimpleNamespace(run_type=run_type)})  # type: ignore[arg-type]

    return failed
