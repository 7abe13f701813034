"""The plugin and the provider load once and cleanly, however the package came to the machine."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from telnyx_porting import __version__
from tests.support.places import ROOT

PUBLISHED = "https://example.com/somebody/port-in-watch"
PLUGINS = ROOT / "plugins"
OURS = ("airflow_provider_telnyx_porting-", "_airflow_provider_telnyx_porting", "telnyx_porting")

PROBE = """
import json, sys

import http, logging, types
before = {"http": http.__file__, "logging": logging.__file__, "types": types.__file__}

from airflow.sdk import plugins_manager as sdk
from airflow.sdk.execution_time.macros import datetime as _  # what a task imports anyway
sdk_plugins, sdk_errors = sdk._get_plugins()
fastapi_in_tasks = "fastapi" in sys.modules

from airflow import plugins_manager as core
core.ensure_plugins_loaded()
info = core.get_plugin_info()

from airflow.providers_manager import ProvidersManager
hook = ProvidersManager().hooks.get("telnyx")

folder = sys.argv[1]
print(json.dumps({
    "sdk": [p.name for p in sdk_plugins],
    "sdk_errors": sdk_errors,
    "core": [p["name"] for p in info],
    "core_errors": core.get_import_errors(),
    "fastapi_in_tasks": fastapi_in_tasks,
    "standard": {name: sys.modules[name].__file__ for name in before} == before,
    "bare": sorted(
        name for name, module in list(sys.modules.items())
        if (getattr(module, "__file__", None) or "").startswith(folder) and not name.startswith("telnyx_porting")
    ),
    "hook": hook and hook.hook_class_name,
    "package": __import__("telnyx_porting").__file__,
}))
"""


BUNDLES = """
import email
import json
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag
found = {}
for bundle in DagBundlesManager().get_all_dag_bundles():
    bag = DagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    assert bag.import_errors == {}, bag.import_errors
    found[bundle.name] = sorted(bag.dags)
print(json.dumps(found))
"""


def probe(python: Path | str, plugins: Path, home: Path) -> dict[str, Any]:
    home.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
        "AIRFLOW__CORE__LAZY_DISCOVER_PROVIDERS": "False",
    }
    done = subprocess.run(
        [str(python), "-c", PROBE, str(plugins)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def environment_without_us(folder: Path) -> Path:
    """Make a virtual environment with everything this one has, but not the package."""
    venv.create(folder, with_pip=False)
    target = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(OURS):
            (target / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


def assert_loaded_once(found: dict[str, Any]) -> None:
    assert found["sdk"] == ["telnyx_porting"]
    assert found["core"].count("telnyx_porting") == 1
    assert found["sdk_errors"] == {}
    assert found["core_errors"] == {}
    assert found["bare"] == []
    assert found["standard"]
    assert not found["fastapi_in_tasks"], "every task would pay for importing FastAPI"


@pytest.mark.e2e
def test_editable_install(tmp_path: Path) -> None:
    """What `make install` gives: the distribution is installed and the plugins folder is ours too."""
    found = probe(sys.executable, PLUGINS, tmp_path / "home")
    assert_loaded_once(found)
    assert found["hook"] == "telnyx_porting.hooks.telnyx.TelnyxHook"


@pytest.mark.e2e
def test_wheel(tmp_path: Path) -> None:
    """A built wheel in a fresh environment: the entry points alone bring plugin and connection type."""
    uv = Path(sys.executable).parent / "uv"
    subprocess.run(
        [uv, "build", "--quiet", "--wheel", "--offline", "--no-build-isolation", "--python", sys.executable]
        + ["--out-dir", tmp_path, ROOT],
        check=True,
        env={**os.environ, "PROJECT_URL": f"{PUBLISHED}/"},
        timeout=100,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert_its_links_work_anywhere(wheel)
    python = environment_without_us(tmp_path / "venv")
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel],
        check=True,
        timeout=100,
    )
    found = probe(python, tmp_path / "nothing", tmp_path / "home")
    assert_loaded_once(found)
    assert found["hook"] == "telnyx_porting.hooks.telnyx.TelnyxHook"
    package = Path(found["package"]).parent
    assert package.is_relative_to(tmp_path)
    assert (package / "py.typed").is_file()
    assert list(package.glob("ledger/migrations/**/*.py")), "the ledger cannot be set up without its migrations"
    assert_dags_come_with_it(python, tmp_path)


def assert_its_links_work_anywhere(wheel: Path) -> None:
    """Where a package is published nothing lies beside its README."""
    with zipfile.ZipFile(wheel) as built:
        (name,) = (each for each in built.namelist() if each.endswith(".dist-info/METADATA"))
        said = email.message_from_bytes(built.read(name))
    assert f"Source, {PUBLISHED}" in said.get_all("Project-URL", [])
    text = str(said.get_payload())
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("#")]
    assert [link for link in links if not link.startswith("https://")] == []
    ours = [link.removeprefix(f"{PUBLISHED}/").split("/", 2) for link in links if link.startswith(PUBLISHED)]
    assert {kind for kind, _, path in ours if path.endswith((".png", ".svg"))} == {"raw"}
    assert [path for _, version, path in ours if version != f"v{__version__}" or not (ROOT / path).exists()] == []
    assert len(ours) > 10


def assert_dags_come_with_it(python: Path, tmp_path: Path) -> None:
    """Both ways that docs/operators.md prints give the seven DAGs, and none twice."""
    guide = (ROOT / "docs" / "operators.md").read_text().partition("## The watch's DAGs in an Airflow of yours")[2]
    script, file = (re.findall(rf"(?ms)^```{kind}\n(.*?)^```$", guide)[0] for kind in ("bash", "python"))
    home = tmp_path / "home"
    (home / "dags").mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    clean |= {"AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    clean |= {"AIRFLOW_HOME": str(home), "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", f"{script}\npython -c '{BUNDLES}'"], env=clean, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    expected = sorted(path.stem for path in (ROOT / "dags").glob("*.py"))
    assert json.loads(done.stdout.splitlines()[-1]) == {"dags-folder": [], "telnyx-porting": expected}
    (home / "dags" / "port_in.py").write_text(file)
    done = subprocess.run([str(python), "-c", BUNDLES], env=clean, capture_output=True, text=True, timeout=100)
    assert json.loads(done.stdout.splitlines()[-1]) == {"dags-folder": expected}, done.stderr


@pytest.mark.e2e
def test_bare_mount(tmp_path: Path) -> None:
    """Only plugins/ is mounted: the shim brings the plugin; the connection form needs an installation."""
    mount = tmp_path / "plugins"
    shutil.copytree(PLUGINS, mount, ignore=shutil.ignore_patterns("__pycache__"))
    found = probe(environment_without_us(tmp_path / "venv"), mount, tmp_path / "home")
    assert_loaded_once(found)
    assert found["hook"] is None
    assert Path(found["package"]).is_relative_to(mount)


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        pytest.param(
            "telnyx_porting.operators.porting, telnyx_porting.sensors.porting, telnyx_porting.triggers.porting",
            "fastapi",
            id="airflow-face-no-fastapi",
        ),
        pytest.param(
            "telnyx_porting.plugin, telnyx_porting.hooks.telnyx, telnyx_porting.hooks.ledger, "
            "telnyx_porting.notifications.failure, telnyx_porting.notifications.deliver",
            "fastapi",
            id="plugin-and-hooks-no-fastapi",
        ),
        pytest.param(
            "telnyx_porting.operators.porting, telnyx_porting.plugin, porting_scan, porting_stuck_events, "
            "porting_exception_alerts, porting_missed_notifications, porting_republish, porting_backfill, "
            "porting_maintenance",
            "telnyx_porting.web.console",
            id="dags-no-console",
        ),
        pytest.param("telnyx_porting.client", "airflow", id="client-no-airflow"),
        pytest.param("telnyx_porting.web.receiver", "airflow", id="receiver-no-airflow"),
        pytest.param("include.sandbox", "telnyx_porting", id="sandbox-nothing-of-ours"),
    ],
)
def test_import_stays_light(module: str, forbidden: str) -> None:
    code = f"import sys; sys.path.append('dags'); import {module}; print({forbidden!r} in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.split() == ["False"]
