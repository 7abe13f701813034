"""All scenarios, in one list."""

from __future__ import annotations

from tests.scenarios import alerting, hostile, outages, switches

STORIES = [*outages.STORIES, *switches.STORIES, *alerting.STORIES, *hostile.STORIES]
