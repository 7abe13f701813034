"""All scenarios, in one list."""

from __future__ import annotations

from tests.scenarios import outages, switches

STORIES = [*outages.STORIES, *switches.STORIES]
