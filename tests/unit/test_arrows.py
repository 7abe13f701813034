"""The rooms and the arrows between them (the contracts stand in pyproject.toml)."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from tests.support.places import ROOT

TEST = re.compile(r"tests\.(\w+\.)*(test_|bench_|conftest\b)")


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, text=True, timeout=100)


def test_arrows_point_down() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


def test_no_circle_not_even_of_types() -> None:
    graph = grimp.build_graph("telnyx_porting", "include", cache_dir=None)
    needs = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    graphlib.TopologicalSorter(needs).prepare()  # raises, naming the circle


@pytest.mark.parametrize("path", sorted((ROOT / "dags").rglob("*.py")), ids=lambda path: path.name)
def test_dags_are_thin(path: Path) -> None:
    """Schedule, params and wiring; whatever needs more belongs into an operator or a flow."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    decisions = [node for node in nodes if isinstance(node, (ast.If, ast.For, ast.While, ast.Try, ast.ClassDef))]
    assert not decisions, f"line {decisions[0].lineno} decides something"
    assert sum(isinstance(node, ast.stmt) for node in nodes) <= 40


def test_no_test_imports_a_test() -> None:
    """What several tests need lives in tests/support, and the closed loop in tests/scenarios."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [f"{path.name} imports {name}" for name in names if TEST.match(name)]
    assert found == []
