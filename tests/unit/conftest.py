"""Fixtures of the client's tests."""

from __future__ import annotations

import pytest

from telnyx_porting.client import windows


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of eight rows: a deep list is then a short one."""
    monkeypatch.setattr(windows, "ROWS_PER_WINDOW", 8)
