"""Before the first ``import airflow``: a home of its own inside the clone, and quiet surroundings."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings

from tests.support.places import BUILD, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.ledger.engine import Ledger
    from tests.support.ledgers import OpenLedger

_TMP = BUILD / "tmp"
_TMP.mkdir(parents=True, exist_ok=True)
# pytest reads this when it makes the first tmp_path: no file outside the clone.
os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_TMP)

_HOME = tempfile.mkdtemp(prefix="airflow-", dir=_TMP)
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "TELNYX_"))]:
    del os.environ[_name]
for _name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(_name, None)
os.environ.update(
    {
        "AIRFLOW_HOME": _HOME,
        "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64,  # as every Airflow has one; dag.test() of 3.2 needs it
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
    }
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--sample",
        metavar="SEED",
        help="of the tests on PostgreSQL, and of those that are `sampled`, take every fourth",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `make test` has no time for; `make test-slow` and `make chaos` have."""
    if (seed := config.getoption("--sample")) is None:
        return

    def chosen(item: pytest.Item) -> bool:
        one_of_many = item.get_closest_marker("postgres") or item.get_closest_marker("sampled")
        return not one_of_many or zlib.crc32(f"{seed} {item.nodeid}".encode()) % 4 == 0

    config.hook.pytest_deselected(items=[item for item in items if not chosen(item)])
    items[:] = filter(chosen, items)


# Examples are many and machines differ: a slow one is no failure, and the seed is printed by `make test`.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture
def open_ledger() -> Iterator[OpenLedger]:
    """Opens ledgers in files; they are closed when the test ends."""
    from telnyx_porting.ledger.engine import Ledger

    with ExitStack() as stack:

        def opened(path: Path, *, durable: bool = False) -> Ledger:
            return stack.enter_context(Ledger(f"sqlite:///{path}", durable=durable))

        yield opened


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """Where Airflow lives in this test process."""
    return Path(_HOME)


@pytest.fixture(scope="session")
def airflow_db(airflow_home: Path) -> Iterator[Path]:
    """A migrated metadata database; the migration runs once per Airflow version, then it is a copy."""
    import airflow
    from airflow.sdk.execution_time import supervisor

    template = BUILD / f"airflow-{airflow.__version__}.db"
    with (BUILD / "airflow-db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes come here at once; one migrates
        if not template.exists():
            fresh = airflow_home / "fresh.db"
            subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                env={**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{fresh}"},
                check=True,
                capture_output=True,
                timeout=180,
            )
            fresh.replace(template)
    database = airflow_home / "airflow.db"
    shutil.copyfile(template, database)
    # Airflow 3.2 makes an API for each task of dag.test(): it takes 2 s, and beside svcs 26 it ends before its task.
    with patch.object(supervisor, "in_process_api_server", cache(supervisor.in_process_api_server)):
        yield database
    database.unlink(missing_ok=True)
