"""The sandbox's README names everything there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.sandbox.control import inbox as control_inbox
from include.sandbox.control import routes as control
from include.sandbox.control import world as control_world
from include.sandbox.scenarios import SCENARIOS
from include.sandbox.world.faults import KINDS
from include.sandbox.world.switches import CHOICES, NUMBERS

TEXT = (Path(__file__).resolve().parents[2] / "include" / "sandbox" / "README.md").read_text()


@pytest.mark.parametrize("name", [*CHOICES, *NUMBERS, *KINDS, *SCENARIOS])
def test_names(name: str) -> None:
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("name", CHOICES)
def test_positions(name: str) -> None:
    positions, decides = CHOICES[name]
    assert f"| `{name}` | {', '.join(f'`{one}`' for one in positions)} | {decides} |" in TEXT


def test_control_requests() -> None:
    routes = [*control.routes, *control_world.routes, *control_inbox.routes]
    heads = {"/" + route.path.split("/")[1] for route in routes}
    assert [head for head in sorted(heads) if f"/sandbox{head}" not in TEXT] == []
