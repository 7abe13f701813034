"""The closed loop over the simulator: a sample of the scenarios (all of them: ``python -m tests.scenarios``)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.scenarios import bounds
from tests.scenarios.loop import loop
from tests.scenarios.table import STORIES
from tests.support.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox
    from tests.scenarios.story import Story


@pytest.mark.parametrize("story", [story for story in STORIES if story.sample], ids=lambda story: story.name)
def test_scenario(sandbox: RunningSandbox, tmp_path: Path, story: Story) -> None:
    with loop(sandbox, tmp_path, **story.knobs) as running:
        assert story.play(running) == story.expected


def test_what_the_readme_promises_in_time_and_sends(sandbox: RunningSandbox, tmp_path: Path) -> None:
    with loop(sandbox, tmp_path, **bounds.KNOBS) as running:
        measured = bounds.measure(running, count=6)
    promised = bounds.promised()
    assert len(measured.detection) == 6
    assert timedelta(0) < min(measured.detection) <= max(measured.detection) <= promised.detection
    assert (len(measured.arrived), len(measured.not_arrived)) == (4, 2)
    assert max(measured.arrived + measured.not_arrived) <= promised.confirmation
    assert measured.sends == [1] * 6
    readme = (ROOT / "README.md").read_text()
    for bound in (bounds.words(promised.detection), bounds.words(promised.confirmation), f"{promised.sends} sends"):
        assert f"**{bound}**" in readme


@pytest.mark.chaos
@pytest.mark.parametrize("story", [story for story in STORIES if not story.sample], ids=lambda story: story.name)
def test_every_other_scenario(sandbox: RunningSandbox, tmp_path: Path, story: Story) -> None:
    with loop(sandbox, tmp_path, **story.knobs) as running:
        assert story.play(running) == story.expected


@pytest.mark.postgres
def test_the_loop_on_postgres(sandbox: RunningSandbox, tmp_path: Path, postgres_url: str) -> None:
    story = next(story for story in STORIES if story.name == "all kinds of events")
    with loop(sandbox, tmp_path, postgres_url) as running:
        assert story.play(running) == story.expected
