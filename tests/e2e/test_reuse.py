"""The ways into an Airflow, as printed, in an environment that knows nothing of the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from include.sandbox.testing import running_sandbox
from tests.support.ledgers import shared_server
from tests.support.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.sandbox.testing import RunningSandbox

pytestmark = pytest.mark.e2e
README = (ROOT / "README.md").read_text()
SECTION = README.partition("## One operator in your own DAG\n")[2].partition("\n## ")[0]
DOCS = ROOT / "docs"
WITHOUT = {
    "receiver": "python -m telnyx_porting.web.receiver --port 0",
    "postgres": "TELNYX_PORTING_LEDGER_URL=postgresql://somebody@localhost/porting python -m telnyx_porting status",
}
"""Extra -> what asks for it."""
SEVEN = 7  # commands from an Airflow to the first sealed window


def printed(language: str, text: str = SECTION) -> str:
    (block,) = re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)
    return str(block)


class Clean:
    """An environment of its own, with the wheel in dist/ and nothing else of the repository."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "airflow"
        subprocess.run(["make", "wheel"], cwd=ROOT, check=True, capture_output=True)
        shutil.copytree(ROOT / "dist", folder / "dist", ignore=lambda _, names: [n for n in names if n[-4:] != ".whl"])
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        (self.home / "dags").mkdir(parents=True)
        hidden = ("PYTHON", "AIRFLOW", "TELNYX")
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self._env |= {"PATH": f"{folder / 'venv' / 'bin'}{os.pathsep}{os.defpath}", "AIRFLOW_HOME": str(self.home)}
        self._env |= {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "TELNYX_API_KEY": "KEY_SANDBOX"}

    def shell(self, script: str, **more: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", script]
        env = self._env | more
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def with_airflow(self) -> list[str]:
        """Install the Airflow that somebody runs already, which is not what is tried; return what is installed."""
        quick = f"{Path(sys.executable).parent / 'uv'} pip install --quiet --python venv/bin/python"
        self.shell(f"{quick} --constraint {ROOT / 'requirements.txt'} apache-airflow && airflow db migrate")
        return self.shell("pip freeze").splitlines()


@pytest.fixture
def clean(tmp_path: Path) -> Clean:
    return Clean(tmp_path)


def connection(sandbox: RunningSandbox) -> dict[str, str]:
    """The printed command makes one to the public API; the environment's goes first."""
    here = {"conn_type": "telnyx", "host": sandbox.base_url, "password": sandbox.api_key}
    return {"AIRFLOW_CONN_TELNYX_DEFAULT": json.dumps(here)}


@pytest.mark.timeout(900)
def test_the_recipe_works_as_printed(clean: Clean) -> None:
    assert "`make wheel` builds it into `dist/`" in SECTION
    install, _, rest = printed("console").partition("\n")
    assert install == "pip install dist/*.whl"
    clean.shell(install)
    where = clean.shell("python -c 'import telnyx_porting; print(telnyx_porting.__file__)'").strip()
    assert where.startswith(str(clean.folder / "venv"))
    clean.shell("airflow db migrate")
    clean.shell(rest)
    assert "KEY_SANDBOX" in clean.shell("airflow connections get telnyx_default --output json")
    (clean.home / "dags" / "mine.py").write_text(printed("python"))
    wanted = re.findall(r"\"([0-9a-f-]{36})\"", printed("python"))
    with running_sandbox() as sandbox:
        order = sandbox.order()
        sandbox.insert(*[{"id": each, "order_id": order} for each in wanted])
        clean.shell("airflow dags test resend_two_events", **connection(sandbox))
        assert sorted(each["event_id"] for each in sandbox.republishes()) == sorted(wanted)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", ["install-pip", "install-managed"])
def test_from_an_airflow_to_the_first_sealed_window_as_printed(page: str, clean: Clean) -> None:
    text = (DOCS / f"{page}.md").read_text()
    commands = printed("console", text).splitlines()
    assert len(commands) <= SEVEN
    before = clean.with_airflow()
    files = {"text": clean.folder / "requirements.txt", "python": clean.home / "dags" / "telnyx_porting.py"}
    for language, file in files.items():
        if f"```{language}\n" in text:
            file.write_text(printed(language, text))
    with running_sandbox("demo") as sandbox, ledger_for(page) as more:
        look = (
            'TELNYX_PORTING_LEDGER_URL="${TELNYX_PORTING_LEDGER_URL:-${LEDGER_URL:-}}" python -m telnyx_porting status'
        )
        said = clean.shell("\n".join([*commands, look]), **connection(sandbox), **more)
        assert re.search(r"account telnyx_default\n  events: complete up to \d{4}-", said), said[-2000:]
        assert not [name for name in sandbox.requests()["counts"] if not name.startswith("GET ")]
        if page == "install-managed":
            evidence_arrives(clean, sandbox, look, connection(sandbox) | more)
    assert set(before) <= set(clean.shell("pip freeze").splitlines()), "what was installed has changed"
    if page == "install-pip":  # which installs no extras; that Airflow has some of them is luck
        clean.shell("pip uninstall --quiet --yes httptools")
        for extra, command in WITHOUT.items():
            said = clean.shell(f"{command} 2>&1 && exit 1 || true").strip()
            assert said.endswith(f"pip install 'airflow-provider-telnyx-porting[{extra}]'"), said
            assert "\n" not in said


def evidence_arrives(clean: Clean, sandbox: RunningSandbox, look: str, env: dict[str, str]) -> None:
    """Without a process of one's own: from Telnyx's delivery records, and from a table in which a system keeps them."""
    sandbox.subscribe(sandbox.sink_url())
    sandbox.burst(3)
    sandbox.settle()
    records = httpx.get(f"{sandbox.base_url}/webhook_deliveries", headers=sandbox.headers, timeout=30).json()["data"]
    with psycopg.connect(env["LEDGER_URL"], autocommit=True) as database:
        database.execute("CREATE TABLE webhooks (id text, received_at timestamptz, body jsonb)")
        for record in records:
            row = (record["webhook"]["id"], record["finished_at"], json.dumps({"data": record["webhook"]}))
            database.execute("INSERT INTO webhooks VALUES (%s, %s, %s)", row)
    said = clean.shell(
        f"airflow dags test porting_scan && airflow dags test porting_missed_notifications && {look}",
        **env,
        AIRFLOW_CONN_MINE=env["LEDGER_URL"],
        TELNYX_PORTING_EVIDENCE_CONNECTION="mine",
        TELNYX_PORTING_EVIDENCE_QUERY="SELECT id, received_at, body FROM webhooks WHERE received_at >= '{since}'",
        TELNYX_PORTING_REPUBLISH_MODE="off",
    )
    for feed in ("deliveries", "table:mine"):
        assert re.search(rf"\n  {feed}: evidence up to \d{{4}}-", said), said[-2000:]


@contextmanager
def ledger_for(page: str) -> Iterator[dict[str, str]]:
    """Where a page wants a database of its own, give one."""
    if page != "install-managed":
        yield {}
        return
    if (server := shared_server()) is None:
        pytest.skip("no PostgreSQL here")
    yield {"LEDGER_URL": server.create(f"managed_{uuid.uuid4().hex[:12]}")}
