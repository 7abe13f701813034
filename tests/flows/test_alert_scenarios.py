"""Scenarios of telling people whose outcome hangs on the database too (all of them: ``python -m tests.scenarios``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios import alerting
from tests.scenarios.loop import loop

if TYPE_CHECKING:
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox
    from tests.scenarios.story import Story

CHOSEN = [story for story in alerting.STORIES if "killed between" in story.name or "two DAGs" in story.name]


@pytest.mark.postgres
@pytest.mark.parametrize("story", CHOSEN, ids=lambda story: story.name)
def test_scenario_on_postgres(sandbox: RunningSandbox, tmp_path: Path, postgres_url: str, story: Story) -> None:
    with loop(sandbox, tmp_path, postgres_url, **story.knobs) as running:
        assert story.play(running) == story.expected


@pytest.mark.chaos
@pytest.mark.postgres
@pytest.mark.parametrize("story", [one for one in alerting.STORIES if one not in CHOSEN], ids=lambda story: story.name)
def test_every_other_scenario_on_postgres(
    sandbox: RunningSandbox, tmp_path: Path, postgres_url: str, story: Story
) -> None:
    with loop(sandbox, tmp_path, postgres_url, **story.knobs) as running:
        assert story.play(running) == story.expected
