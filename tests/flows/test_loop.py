"""The closed loop over the simulator: a sample of the scenarios (all of them: ``python -m tests.scenarios``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.sandbox.testing import RunningSandbox, running_sandbox
from tests.scenarios.loop import loop
from tests.scenarios.table import STORIES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.scenarios.story import Story


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


@pytest.mark.parametrize("story", [story for story in STORIES if story.sample], ids=lambda story: story.name)
def test_scenario(sandbox: RunningSandbox, tmp_path: Path, story: Story) -> None:
    with loop(sandbox, tmp_path, **story.knobs) as running:
        assert story.play(running) == story.expected


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
