"""Settings written into Airflow's own configuration: known by name, below the environment, never a secret's place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING

import jsonschema
import pytest

from telnyx_porting import settings
from telnyx_porting.errors import SettingsError
from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.provider_info import get_provider_info
from tests.support.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SECTION = "AIRFLOW__TELNYX_PORTING__"


def test_airflow_takes_what_the_provider_says_of_itself() -> None:
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text())
    said = get_provider_info()
    jsonschema.validate(said, schema)
    options = said["config"]["telnyx_porting"]["options"]
    assert {*options} == {*settings.OPTIONS}
    assert {option["default"] for option in options.values()} == {None}


def test_the_environment_comes_before_the_section_and_the_section_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().grace == timedelta(minutes=15)
    monkeypatch.setenv(f"{SECTION}GRACE", "7m")
    monkeypatch.setenv(f"{SECTION}ACCOUNT_SETTINGS", '{"second": {"grace": "3m"}}')
    assert (load_settings().grace, load_settings("second").grace) == (timedelta(minutes=7), timedelta(minutes=3))
    monkeypatch.setenv("TELNYX_PORTING_GRACE", "9m")
    assert load_settings().grace == timedelta(minutes=9)
    monkeypatch.setenv("TELNYX_PORTING_GRACE", "")
    assert load_settings().grace == timedelta(minutes=7)
    assert load_settings().problems == ()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GRACE", "soon", "TELNYX_PORTING_GRACE"),
        ("GRAEC", "5m", "[telnyx_porting] graec"),
        ("LEDGER_URL", "postgresql://porting:hidden@db/porting", "[telnyx_porting] ledger_url"),
        ("LEDGER_URL_CMD", "echo hidden", "[telnyx_porting] ledger_url"),
    ],
)
def test_what_is_wrong_there_is_named_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"{SECTION}{name}", value)
    own = load_settings()
    assert own.grace == timedelta(minutes=15)
    with pytest.raises(SettingsError) as caught:
        own.require_valid()
    assert str(caught.value).startswith(said)
    assert "hidden" not in str(caught.value)


def test_a_file_s_section_decides_when_the_dags_run_and_nothing_else_is_asked_for_it(tmp_path: Path) -> None:
    """In a fresh process, which is how Airflow reads its file."""
    (tmp_path / "airflow.cfg").write_text("[telnyx_porting]\nlook_every = 20m\naccounts = north,south\ngraec = 1m\n")
    script = (
        "import json\n"
        "from dags import porting_stuck_events as read\n"
        "from telnyx_porting.hooks.settings import load_settings\n"
        "from tests.support.vaults import AskedSecrets\n"
        "own = load_settings()\n"
        "problems = [str(each) for each in own.problems]\n"
        "print(json.dumps([str(read.dag.schedule), list(own.accounts), problems, AskedSecrets.asked]))\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "TELNYX_"))}
    env |= {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__SECRETS__BACKEND": "tests.support.vaults.AskedSecrets",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    schedule, accounts, problems, asked = json.loads(done.stdout.splitlines()[-1])
    assert schedule == "0:20:00"
    assert accounts == ["north", "south"]
    assert [problem.startswith("[telnyx_porting] graec") for problem in problems] == [True]
    assert asked == []
