"""All scenarios, in one list."""

from __future__ import annotations

from tests.scenarios import alerting, hostile, outages, skew, switches

STORIES = [*outages.STORIES, *skew.STORIES, *switches.STORIES, *alerting.STORIES, *hostile.STORIES]
