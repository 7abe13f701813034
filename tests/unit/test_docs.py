"""The documentation keeps up with the code: what exists is described, what is described exists."""

from __future__ import annotations

import ast
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from telnyx_porting.settings import load, table
from tests.support.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

README = (ROOT / "README.md").read_text()
RECEIVER = (ROOT / "plugins" / "telnyx_porting" / "web" / "receiver" / "app.py").read_text()
CONFIGURATION = ROOT / "docs" / "configuration.md"


def exported(path: str) -> list[str]:
    """The public names of a module, read without importing Airflow."""
    tree = ast.parse((ROOT / "plugins" / "telnyx_porting" / path).read_text())
    names = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    return list(ast.literal_eval(names))


def test_every_setting_is_in_the_documentation_as_it_is() -> None:
    """Regenerate with: .venv/bin/python -m telnyx_porting settings (the part below the heading)."""
    assert table(load(environ={})) in CONFIGURATION.read_text()


@pytest.mark.parametrize("module", ["operators/porting.py", "sensors/porting.py", "triggers/porting.py"])
def test_every_operator_sensor_and_trigger_is_described(module: str) -> None:
    described = (ROOT / "docs" / "operators.md").read_text()
    assert [name for name in exported(module) if f"`{name}`" not in described] == []


@pytest.mark.parametrize("path", sorted((ROOT / "dags").rglob("*.py")), ids=lambda path: path.name)
def test_dags_import_public_names_only(path: Path) -> None:
    """Who copies a DAG must not depend on what may change without notice."""
    public = {
        "telnyx_porting.hooks.settings": ["load_settings"],
        **{f"telnyx_porting.{room}.porting": exported(f"{room}/porting.py") for room in ("operators", "sensors")},
        "telnyx_porting.triggers.porting": exported("triggers/porting.py"),
    }
    imported = [
        (str(node.module), alias.name)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("telnyx_porting")
        for alias in node.names
    ]
    assert imported
    assert [(module, name) for module, name in imported if name not in public.get(module, [])] == []
    assert "import telnyx_porting" not in path.read_text()


def test_every_dag_is_described() -> None:
    assert [path.stem for path in (ROOT / "dags").glob("*.py") if f"`{path.stem}`" not in README] == []


def test_every_make_target_named_in_the_documentation_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    named = {
        name for path in documents for name in re.findall(r"(?<=make )[a-z]+(?:-[a-z]+)*", _code(path.read_text()))
    }
    assert named <= targets, named - targets


def test_what_a_lower_version_may_break_is_run_on_the_lowest() -> None:
    """The flows too: they know no Airflow, but SQLAlchemy."""
    (line,) = [
        each for each in (ROOT / "Makefile").read_text().splitlines() if "build/lowest/bin/python -m pytest" in each
    ]
    assert set(re.findall(r"tests/\w+", line)) == {"tests/unit", "tests/flows", "tests/airflow"}
    assert "make test-lowest" in (ROOT / ".ci" / "run").read_text()


def test_links_between_documents_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} -> {target}"


def test_the_readme_example_is_a_dag_that_parses() -> None:
    example = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "DAG(" in block)
    compile(example, "README.md", "exec")
    assert "TelnyxRepublishPortingEventsOperator" in exported("operators/porting.py")


def test_nothing_of_a_workplace_is_in_the_tree() -> None:
    """No path of somebody's machine, no registry host: they would be wrong everywhere else."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        pytest.skip("not a git checkout")
    texts = {name: (ROOT / name).read_bytes() for name in listed if (ROOT / name).is_file()}
    found = [name for name, text in texts.items() if re.search(rb"/(root|work)/|file:/{3}opt", text)]
    assert found == []


def _code(text: str) -> str:
    return "\n".join(re.findall(r"`([^`\n]+)`", text) + re.findall(r"^\s*make .*$", text, re.MULTILINE))


def test_every_metric_is_in_the_table_with_its_type_and_has_an_account() -> None:
    found = dict(re.findall(r"# TYPE (telnyx_porting_\w+|\{name\}\w+) (counter|gauge)", RECEIVER))
    found = {name.replace("{name}", "telnyx_porting_receiver"): kind for name, kind in found.items()}
    for path in sorted((ROOT / "plugins" / "telnyx_porting").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or getattr(getattr(call.func, "value", None), "id", "") != "stats":
                continue
            name = ast.literal_eval(call.args[0])
            found[name] = {"incr": "counter", "gauge": "gauge"}[call.func.attr]  # type: ignore[attr-defined]
            (tags,) = [keyword.value for keyword in call.keywords if keyword.arg == "tags"]
            assert ast.unparse(tags) == "{'account': account.id}", f"{path.name}: {name}"
    guide = (ROOT / "docs" / "operations.md").read_text()
    assert found == dict(re.findall(r"^\| `(telnyx_porting[._]\w+)` \| (counter|gauge) \|", guide, re.MULTILINE))
