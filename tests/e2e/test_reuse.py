"""The README's recipe for your own DAG, as printed, in an environment that knows nothing of the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from include.sandbox.testing import running_sandbox
from tests.support.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e
README = (ROOT / "README.md").read_text()
SECTION = README.partition("## One operator in your own DAG\n")[2].partition("\n## ")[0]


def printed(language: str) -> str:
    (block,) = re.findall(rf"(?ms)^```{language}\n(.*?)^```$", SECTION)
    return str(block)


@pytest.mark.timeout(900)
def test_the_recipe_works_as_printed(tmp_path: Path) -> None:
    assert "`make wheel` builds it into `dist/`" in SECTION
    subprocess.run(["make", "wheel"], cwd=ROOT, check=True, capture_output=True)
    shutil.copytree(ROOT / "dist", tmp_path / "dist", ignore=lambda _, names: [n for n in names if n[-4:] != ".whl"])
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    home = tmp_path / "airflow"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIRFLOW", "TELNYX"))}
    clean |= {"PATH": f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{os.defpath}", "AIRFLOW_HOME": str(home)}
    clean |= {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "TELNYX_API_KEY": "KEY_SANDBOX"}

    def shell(script: str, **more: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=tmp_path, env=clean | more, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    install, _, rest = printed("console").partition("\n")
    assert install == "pip install dist/*.whl"
    shell(install)
    where = shell("python -c 'import telnyx_porting; print(telnyx_porting.__file__)'").strip()
    assert where.startswith(str(tmp_path / "venv"))
    shell("airflow db migrate")
    shell(rest)
    assert "KEY_SANDBOX" in shell("airflow connections get telnyx_default --output json")
    (home / "dags").mkdir(exist_ok=True)
    (home / "dags" / "mine.py").write_text(printed("python"))
    wanted = re.findall(r"\"([0-9a-f-]{36})\"", printed("python"))
    with running_sandbox() as sandbox:
        order = sandbox.order()
        sandbox.insert(*[{"id": each, "order_id": order} for each in wanted])
        here = {"conn_type": "telnyx", "host": sandbox.base_url, "password": sandbox.api_key}
        shell("airflow dags test resend_two_events", AIRFLOW_CONN_TELNYX_DEFAULT=json.dumps(here))
        assert sorted(each["event_id"] for each in sandbox.republishes()) == sorted(wanted)
